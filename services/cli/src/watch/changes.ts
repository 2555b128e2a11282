import { services } from '../session/environment.ts';
import type { LeaseRow, MachineRow, Reading, SetRow } from './reading.ts';

/** Something that changed between two readings. */
export interface Change {
  /** ISO 8601: when it happened, by the service that owns it, otherwise when it was read. */
  readonly time: string;
  readonly subject: string;
  readonly text: string;
  readonly kind: 'loss' | 'return' | 'other';
}

/**
 * What changed, by time.
 * @param before the newest that is known of each part
 * @param short a name as users type it
 */
export function changesBetween(before: Reading, now: Reading, short: (name: string) => string): readonly Change[] {
  const seen = new Date(now.atMs).toISOString();
  const of = (subject: string, text: string, kind: Change['kind'], time = seen): Change => ({
    time: time === '' ? seen : time,
    subject: short(subject),
    text,
    kind,
  });
  return [
    ...services.flatMap((service) => {
      const [was, is] = [before.problems[service], now.problems[service]];
      return was === is ? [] : [of(service, is === '' ? 'responds' : is, is === '' ? 'return' : 'loss')];
    }),
    ...matched(before.sets, now.sets, ({ name }) => name).flatMap(([was, is]) => setChange(was, is, short, of)),
    ...matched(before.leases, now.leases, ({ set, key }) => `${set} ${key}`).flatMap(([was, is]) =>
      leaseChange(was, is, of),
    ),
    ...matched(before.machines, now.machines, ({ name }) => name).flatMap(([was, is]) => machineChanges(was, is, of)),
  ].toSorted((a, b) => a.time.localeCompare(b.time));
}

type Make = (subject: string, text: string, kind: Change['kind'], time?: string) => Change;
type Pair<Row> = readonly [was: Row | undefined, is: Row | undefined];

/** The rows of two readings by their keys; empty if a reading does not have them. */
function matched<Row>(
  before: readonly Row[] | undefined,
  now: readonly Row[] | undefined,
  keyOf: (row: Row) => string,
): readonly Pair<Row>[] {
  if (before === undefined || now === undefined) return [];
  const was = new Map(before.map((row) => [keyOf(row), row]));
  const is = new Map(now.map((row) => [keyOf(row), row]));
  return [...new Set([...was.keys(), ...is.keys()])].map((key) => [was.get(key), is.get(key)]);
}

function setChange(
  was: SetRow | undefined,
  is: SetRow | undefined,
  short: (name: string) => string,
  of: Make,
): readonly Change[] {
  if (was === undefined || is === undefined) return created(was?.name, is?.name, of);
  const changes: Change[] = [];
  if (was.key !== is.key) changes.push(of(is.name, `uses ${shortKey(short(is.key))}`, 'other'));
  if (was.access !== is.access || was.reason !== is.reason) {
    const kind = is.access === 'AVAILABLE' ? 'return' : is.access === 'LOST' ? 'loss' : 'other';
    changes.push(
      of(is.name, withReason(`access to ${shortKey(short(is.key))} ${is.access}`, is.reason), kind, is.since),
    );
  }
  return changes;
}

/** Leases end and begin with the disks that use them, so only what happens to one is a change. */
function leaseChange(was: LeaseRow | undefined, is: LeaseRow | undefined, of: Make): readonly Change[] {
  if (was === undefined || is === undefined || was.state === is.state) return [];
  const kind = is.state === 'HELD' ? 'return' : 'loss';
  return [of(is.set, withReason(`lease ${is.state}`, is.reason), kind)];
}

function machineChanges(was: MachineRow | undefined, is: MachineRow | undefined, of: Make): readonly Change[] {
  if (was === undefined || is === undefined) return created(was?.name, is?.name, of);
  const changes: Change[] = [];
  if (was.power !== is.power || was.reason !== is.reason) {
    const isDone = is.power === 'RUNNING' || is.power === 'STOPPED';
    const kind = is.power === 'RUNNING' && is.reason === '' ? 'return' : is.reason === '' ? 'other' : 'loss';
    const time = was.power !== is.power && isDone ? is.since : undefined;
    changes.push(of(is.name, withReason(is.power, is.reason), kind, time));
  }
  if (is.mismatches > was.mismatches)
    changes.push(of(is.name, `${is.mismatches - was.mismatches} reads returned other bytes than were written`, 'loss'));
  return changes;
}

const created = (was: string | undefined, is: string | undefined, of: Make): readonly Change[] => {
  if (is !== undefined) return [of(is, 'created', 'other')];
  return was === undefined ? [] : [of(was, 'deleted', 'other')];
};

/** Without the id of the version. @param key short name of a version */
export const shortKey = (key: string): string => key.replace(/\/[0-9a-f]{32}$/, '');

const withReason = (text: string, reason: string): string => (reason === '' ? text : `${text}: ${reason}`);

/** The newest known state: what this reading does not have is taken from the one before. */
export const newest = (before: Reading, now: Reading): Reading => ({
  ...now,
  sets: now.sets ?? before.sets,
  leases: now.leases ?? before.leases,
  machines: now.machines ?? before.machines,
});
