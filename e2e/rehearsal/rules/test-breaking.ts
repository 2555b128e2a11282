import assert from 'node:assert/strict';
import type { IoSummary } from '@interlock/lab/judge/journal/journal';
import type { Evidence, LossSeen, ReturnSeen } from '../evidence/evidence.ts';
import type { Breakable } from './test-evidence.ts';

/** Evidence that a test may change. */
export type Broken = Breakable<Evidence>;
/** One way to break a rule. */
export type Break = (evidence: Broken) => void;

/** An item that a list must have. */
export const one = <Thing>(things: readonly Thing[], isIt: (thing: Thing) => boolean = () => true): Thing => {
  const found = things.find(isIt);
  assert.ok(found !== undefined, 'the good evidence lacks what this test wants to break');
  return found;
};
/** A machine in the evidence. */
export const machineOf = <Named extends { name: string }>({ machines }: { machines: Named[] }, name: string): Named =>
  one(machines, (machine) => machine.name === name);
/** A machine that should have stopped and runs on. */
export const keepsRunning = (loss: Breakable<LossSeen>, name: string): void => {
  Object.assign(machineOf(loss, name), { power: 'RUNNING', reason: '', stoppedAt: undefined });
};
interface Seen {
  readonly machines: { readonly name: string; power: string; readonly io: Breakable<IoSummary> }[];
}
/** Makes a machine stop that should have continued. */
export const stopsUnrequested = (seen: Seen, name: string): void => {
  machineOf(seen, name).power = 'STOPPED';
};
/** Gives a machine one failed read or write. */
export const failsIo = (seen: Seen, name: string): void => {
  Object.assign(machineOf(seen, name).io, { failed: 1, failure: 'KEY_DISABLED' });
};
/** Keeps a machine from starting again. */
export const doesNotStart = (back: Breakable<ReturnSeen>, name: string): void => {
  Object.assign(
    one(back.starts, ({ machine }) => machine === name),
    { outcome: 'failed', code: 'KEY_DISABLED' },
  );
};

/** Ways to break rules, by rule id and description. */
export type Breaks = Readonly<Record<string, Readonly<Record<string, Break>>>>;
