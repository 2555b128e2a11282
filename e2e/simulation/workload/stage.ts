import type { CallOutcome } from '@interlock/lab/judge/findings';
import type { Disturbances } from '@interlock/lab/judge/model/disturbances';
import type { SeededRandom } from '@interlock/runtime';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Judge } from '../invariants/judge.ts';
import type { HistoryLog } from '../runs/history-log.ts';
import type { SimulatedTruth } from '../truth/truth.ts';
import type { Clients } from './estate.ts';
import { outcomeOf } from './outcomes.ts';

/** What every action needs. */
export interface Stage {
  readonly world: SimulatedCloud;
  readonly clients: Clients;
  readonly log: HistoryLog;
  readonly truth: SimulatedTruth;
  readonly judge: Judge;
  readonly disturbances: Disturbances;
  readonly random: SeededRandom;
  /** Counts for the summary of the history. */
  readonly counts: { revocations: number; returns: number };
  /** Names of the faults that started. */
  readonly struck: Set<string>;
  /** Does an action now; it is awaited before the history is judged. */
  begin(work: () => Promise<unknown>): void;
  /** The same after a time. */
  later(delayMs: number, work: () => Promise<unknown>): void;
  /** Whether this history waits the full allowed time, although no judge finds anything in progress: for late defects. */
  readonly isPatient: boolean;
  /** Whether the history is ending: planned actions do not start any more. */
  readonly isEnding: () => boolean;
  /** A number that no other write, disk, machine or snapshot of this history has. */
  nextNumber(): number;
}

/** The result of an attempt. */
export interface Attempted<Value> {
  readonly outcome: CallOutcome;
  readonly value: Value | undefined;
  readonly error: unknown;
}

/** Carries out a named action, records it, and has its refusal judged. Never throws a service's refusal. */
export const attempt = async <Value>(
  { log, judge }: { readonly log: Pick<HistoryLog, 'begin' | 'end'>; readonly judge: Pick<Judge, 'onFailure'> },
  name: string,
  text: string,
  work: () => Promise<Value>,
  describe: (value: Value) => string = () => '',
): Promise<Attempted<Value>> => {
  const action = log.begin(name, text);
  try {
    const value = await work();
    log.end(action, { kind: 'ok', text: describe(value) });
    return { outcome: action.outcome ?? { kind: 'ok', text: '' }, value, error: undefined };
  } catch (error) {
    const outcome = outcomeOf(error);
    log.end(action, outcome);
    judge.onFailure(action, error);
    return { outcome, value: undefined, error };
  }
};
