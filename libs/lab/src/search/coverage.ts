import { accessReasonOf } from '@interlock/access';
import type { RunRecord, StepRecord } from '../record.ts';

/** What of a stored event is read. */
interface Stored {
  readonly type: string;
  readonly stream: string;
  readonly time: number;
  readonly data: unknown;
}

/**
 * What a run reached, as keys: each decision (kind of event, with its reasons), what preceded it on the same machine, disk or set,
 * in which state the others were, and which faults and losses were active. No key contains a name or a time.
 */
export const coverageOf = (record: RunRecord): readonly string[] => {
  const { startedMs = Number.POSITIVE_INFINITY } = record.run;
  const keys = new Set<string>();
  const lastOf = new Map<string, string>();
  const stateOf = new Map<string, string>();
  const events = ((record.raw?.events ?? []) as unknown as readonly Stored[]).toSorted((a, b) => a.time - b.time);
  const activeAt = activities(record.steps);
  for (const { type, stream, time, data } of events) {
    const kind = stream.slice(0, stream.indexOf('-'));
    const decision = [type, ...reasonsIn(data)].join(' ');
    if (time >= startedMs) {
      keys.add(decision);
      keys.add(`${decision} after ${lastOf.get(stream) ?? 'nothing'}`);
      for (const [other, state] of stateOf) if (other !== kind) keys.add(`${decision} while ${other} ${state}`);
      for (const active of activeAt(time)) keys.add(`${decision} while ${active}`);
    }
    lastOf.set(stream, type);
    stateOf.set(kind, type);
  }
  for (const { op, ok, reason, completedMs } of record.io) {
    if (ok || completedMs < startedMs) continue;
    keys.add(`${op} ${reason}`);
    for (const active of activeAt(completedMs)) keys.add(`${op} ${reason} while ${active}`);
  }
  return [...keys];
};

/** Reasons of losses in an event, at any depth. */
function reasonsIn(data: unknown): readonly string[] {
  const found = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value === 'string' && accessReasonOf(value) !== undefined) found.add(value);
    else if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array))
      for (const inner of Object.values(value)) look(inner);
  };
  look(data);
  return [...found].sort();
}

/** The faults and losses that are active at a time, by action and target of a fault. */
function activities(steps: readonly StepRecord[]): (atMs: number) => readonly string[] {
  const all = steps
    .filter(({ undoes }) => undoes === undefined)
    .map(({ name, action, targets, invokedMs }) => {
      const endMs = steps.find(({ undoes }) => undoes === name)?.invokedMs ?? Number.POSITIVE_INFINITY;
      return { text: `${action} ${targets.join(' ')}`, invokedMs, endMs };
    });
  return (atMs) => all.filter(({ invokedMs, endMs }) => invokedMs <= atMs && atMs < endMs).map(({ text }) => text);
}
