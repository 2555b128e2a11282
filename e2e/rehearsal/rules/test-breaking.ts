import assert from 'node:assert/strict';
import type { Verdict } from '@interlock/lab';
import type { IoSummary } from '@interlock/lab/judge/journal/journal';
import type { Evidence, MachineAfterLoss, ReturnSeen } from '../evidence/evidence.ts';
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
/** Gives a part of the evidence other values. */
export const change = <Thing extends object>(thing: Thing, fields: Partial<Thing>): void => {
  Object.assign(thing, fields);
};
/** A machine in the evidence. */
export const machineOf = <Named extends { name: string }>({ machines }: { machines: Named[] }, name: string): Named =>
  one(machines, (machine) => machine.name === name);
/** A machine that should have stopped and runs on. */
export const keepsRunning = (machines: Breakable<MachineAfterLoss>[], name: string): void =>
  change(machineOf({ machines }, name), { power: 'RUNNING', reason: '' });
/** Makes a rule of the lab's verdict fail that begins with a prefix. */
export const violates = ({ rules }: Breakable<Verdict>, prefix: string): void => {
  one(rules, ({ text }) => text.startsWith(prefix)).result = 'violated';
};
/** Removes the rules of the lab's verdict that begin with a prefix. */
export const lacks = (verdict: Breakable<Verdict>, prefix: string): void => {
  one(verdict.rules, ({ text }) => text.startsWith(prefix));
  verdict.rules = verdict.rules.filter(({ text }) => !text.startsWith(prefix));
};
interface Seen {
  readonly machines: { readonly name: string; power: string; readonly io: Breakable<IoSummary> }[];
}
/** Makes a machine stop that should have continued. */
export const stopsUnrequested = (seen: Seen, name: string): void => change(machineOf(seen, name), { power: 'STOPPED' });
/** Gives a machine one failed read or write. */
export const failsIo = (seen: Seen, name: string): void =>
  change(machineOf(seen, name).io, { failed: 1, failure: 'KEY_DISABLED' });
/** Keeps a machine from starting again. */
export const doesNotStart = (back: Breakable<ReturnSeen>, name: string): void =>
  change(
    one(back.starts, ({ machine }) => machine === name),
    { outcome: 'failed', code: 'KEY_DISABLED' },
  );

/** Ways to break rules, by rule id and description. */
export type Breaks = Readonly<Record<string, Readonly<Record<string, Break>>>>;
