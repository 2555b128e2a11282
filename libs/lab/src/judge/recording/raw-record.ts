import type { RecordedEvent } from '@interlock/event-store';
import type { Workload } from '@interlock/rpc';
import type { GuaranteeRecord, MachineRecord, RawRecord, RunRecord } from '../../record.ts';
import { takesAccess } from '../../timeline/actions.ts';
import type { Terms } from '../invariants/bounds.ts';
import { guaranteesOf } from './guarantees.ts';
import { MachineLog } from './machine-log.ts';
import { type Disturbance, replay } from './replay.ts';

/** What is not an event and the oracle reads. Plain JSON. Times in milliseconds since the epoch. */
export interface Facts {
  readonly disturbances: readonly Disturbance[];
  readonly terms: Terms;
  readonly slackMs?: number;
  /** Start of the judged time. */
  readonly sinceMs: number;
  /** From when on changes of power are of the comparison of disks, not of the run; absent or infinite: never. */
  readonly untilMs?: number;
  /** What only the judges of the simulation see, in its stores and in memory. */
  readonly findings: readonly GuaranteeRecord[];
}

type Events = Readonly<Record<Workload, readonly RecordedEvent[]>>;
type StoredEvent = RecordedEvent & { readonly service: Workload };

/** Fields of events that hold hashes of secrets, or certificates. The oracle reads none of them. */
const left = /hash|certificate|secret/i;

const without = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(without);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, one]) =>
      left.test(name) || one instanceof Uint8Array ? [] : [[name, without(one)]],
    ),
  );
};

/** The evidence that `judgedAgain` reads. @param events of each service, at the times of the machine */
export const rawRecord = (events: Events, facts: Facts): RawRecord => ({
  events: Object.entries(events).flatMap(([service, all]) =>
    all.map((event) => ({ service, ...event, data: without(event.data) })),
  ),
  facts: { ...facts },
});

/**
 * The record with its power records and guarantees, derived from the stored events again. A t0 that is not that of the commit that
 * took the key, and events that are missing in a stream, are problems of the run.
 */
export function judgedAgain(record: RunRecord): RunRecord {
  const { raw, run } = record;
  // A set-up that failed has left nothing to judge.
  if (raw === undefined || raw.events.length === 0) return record;
  const stored = raw.events as unknown as readonly StoredEvent[];
  const facts = raw.facts as unknown as Facts;
  if (facts.terms === undefined) return record;
  const byService = Map.groupBy(stored, ({ service }) => service);
  const events = Object.fromEntries(byService) as unknown as Events;
  const log = new MachineLog();
  const untilMs = facts.untilMs ?? Number.POSITIVE_INFINITY;
  for (const event of events.compute ?? []) if (event.time < untilMs) log.apply(event);
  const machines = record.machines.map((machine): MachineRecord => ({ ...machine, ...log.of(machine.name) }));
  const refusals = record.steps.flatMap(({ name, refused = [] }) => refused.map((one) => ({ ...one, step: name })));
  const judged = { events, ...facts, refusals, machines: new Set(machines.map(({ name }) => name)) };
  const history = record.io.map(({ invokedMs: invokedAt, completedMs: completedAt, ...one }) => ({
    ...{ ...one, invokedAt, completedAt },
    ...{ offset: 0, length: 0 },
  }));
  const problems = [...run.problems, ...gapsIn(stored), ...movedT0(record, events, facts)];
  return {
    ...{ ...record, machines, run: { ...run, problems } },
    guarantees: [...facts.findings, ...guaranteesOf({ ...judged, history })],
  };
}

/** Streams with a version that is missing. */
const gapsIn = (events: readonly StoredEvent[]): readonly string[] =>
  [...Map.groupBy(events, ({ service, stream }) => `${service} ${stream}`)].flatMap(([name, all]) => {
    const gap = all.find(({ version }, index) => index > 0 && version !== (all[index - 1]?.version ?? 0) + 1);
    return gap === undefined
      ? []
      : [`events.jsonl does not have every event of ${name}: version ${gap.version - 1} is missing`];
  });

/** How far t0 may be from its commit, in milliseconds: in a cluster clocks differ. */
const toleranceMs = (target: RunRecord['run']['target']): number => (target === 'kubernetes' ? 500 : 50);

/** Steps whose t0 is not the commit that removed access. */
function movedT0({ steps, run }: RunRecord, events: Events, { disturbances, terms }: Facts): readonly string[] {
  const { losses } = replay({ events, disturbances, terms });
  return steps.flatMap(({ name, action, effectMs, keyVersions = [] }): readonly string[] => {
    if (effectMs === undefined || !takesAccess(action) || action === 'throttle') return [];
    const own = losses.filter(({ keyVersion }) => keyVersions.includes(keyVersion));
    const from = own.map(({ loss: { fromMs } }) => fromMs);
    if (own.length === 0 || from.some((at) => Math.abs(at - effectMs) <= toleranceMs(run.target))) return [];
    // The key was lost already, by a step before it.
    const isLater = own.some(({ loss: { fromMs, untilMs = Number.POSITIVE_INFINITY } }) =>
      steps.some(
        (other) => other.name !== name && other.effectMs === fromMs && effectMs > fromMs && effectMs < untilMs,
      ),
    );
    if (isLater) return [];
    const nearest = from.toSorted((a, b) => Math.abs(a - effectMs) - Math.abs(b - effectMs))[0] ?? effectMs;
    return [
      `t0 of "${name}" is not its commit: the key was lost ${Math.round(Math.abs(effectMs - nearest))} ms ${nearest < effectMs ? 'before' : 'after'} it`,
    ];
  });
}
