import { causesOfDisk } from './disks.ts';
import { type Histories, type Implied, type Seen, Timeline } from './history.ts';
import { causesOfKeyOrPrincipal } from './keys.ts';
import { causesOfCompute } from './machines.ts';
import { causesOfSet } from './sets.ts';

/** How complete and correct the stored causes of a history are. */
export interface CauseReport {
  readonly events: number;
  readonly causes: number;
  /** Share of the implied causes that are stored. */
  readonly recall: number;
  /** Share of the stored causes that are implied. */
  readonly precision: number;
  /** Every fault, as a text. */
  readonly faults: readonly string[];
}

const rulesOf = {
  identity: causesOfKeyOrPrincipal,
  'key-vault': causesOfKeyOrPrincipal,
  'disk-encryption-set': causesOfSet,
  disk: causesOfDisk,
  compute: causesOfCompute,
} as const;

/** What a commit stores after another event of the same stream follows from that event; all else by the rules of the service. */
const impliedBy = (line: Timeline, event: Seen): readonly Implied[] => {
  const first = line.firstOfCommit(event);
  if (first !== event) return [{ kinds: ['step'], anyOf: [first] }];
  return event.service in rulesOf ? rulesOf[event.service as keyof typeof rulesOf](line, event) : [];
};

/**
 * Compares the stored causes of events with those that their data imply (G10): numbers of losses, generations, opens, names. Also,
 * every cause must exist in some store, and no event may be its own cause, directly or indirectly.
 */
export const judgeCauses = (histories: Histories): CauseReport => {
  const line = new Timeline(histories);
  const known = new Map(line.events.map((event) => [event.id, event]));
  const faults: string[] = [];
  let causes = 0;
  let implied = 0;
  let missed = 0;
  let wrong = 0;
  for (const event of line.events) {
    const stored = event.cause.causes;
    causes += stored.length;
    for (const { id } of stored) if (!known.has(id)) faults.push(`${titleOf(event)} names ${id}, which no store has`);
    const wanted = impliedBy(line, event);
    for (const one of wanted) {
      if (one.isOptional) continue;
      implied += 1;
      if (stored.some((cause) => matches(one, cause, known.get(cause.id)))) continue;
      missed += 1;
      faults.push(`${titleOf(event)} has no ${one.kinds.join(' or ')} of ${list(one.anyOf)}, but ${textOf(stored)}`);
    }
    for (const cause of stored) {
      if (wanted.some((one) => matches(one, cause, known.get(cause.id)))) continue;
      wrong += 1;
      faults.push(`${titleOf(event)} has a ${cause.kind} of ${cause.id}, which its data do not imply`);
    }
  }
  faults.push(...cyclesIn(line.events, known));
  const share = (part: number, all: number): number => (all === 0 ? 1 : (all - part) / all);
  return {
    events: line.events.length,
    causes,
    recall: share(missed, implied),
    precision: share(wrong, causes),
    faults,
  };
};

type Cause = Seen['cause']['causes'][number];

/** Whether a stored cause is an implied one. @param candidate its event */
const matches = ({ kinds, anyOf }: Implied, { kind }: Cause, candidate: Seen | undefined): boolean =>
  candidate !== undefined &&
  kinds.includes(kind) &&
  (typeof anyOf === 'function' ? anyOf(candidate) : anyOf.includes(candidate));

const titleOf = ({ service, type, id, cause: { caller } }: Seen): string => `${service} ${type} ${id} of ${caller}`;
const textOf = (causes: Seen['cause']['causes']): string =>
  causes.length === 0 ? 'none' : causes.map(({ id, kind }) => `${kind} ${id}`).join(', ');
const list = (events: Implied['anyOf']): string =>
  typeof events === 'function'
    ? 'many'
    : events.length === 0
      ? 'nothing'
      : events
          .slice(0, 3)
          .map(({ type, id }) => `${type} ${id}`)
          .join(', ');

/** Events that are among their own causes. */
const cyclesIn = (events: readonly Seen[], known: ReadonlyMap<string, Seen>): readonly string[] => {
  const done = new Set<string>();
  const faults: string[] = [];
  for (const start of events) {
    const path: { readonly id: string; next: number }[] = [{ id: start.id, next: 0 }];
    const open = new Set([start.id]);
    while (path.length > 0) {
      const top = path[path.length - 1] as { readonly id: string; next: number };
      const cause = done.has(top.id) ? undefined : known.get(top.id)?.cause.causes[top.next];
      top.next += 1;
      if (cause === undefined) {
        done.add(top.id);
        open.delete(top.id);
        path.pop();
      } else if (open.has(cause.id)) faults.push(`${cause.id} is among its own causes`);
      else if (!done.has(cause.id)) {
        open.add(cause.id);
        path.push({ id: cause.id, next: 0 });
      }
    }
  }
  return faults;
};
