import type { Lab } from '../target.ts';
import { type JournalLine, outstandingIn, type StepJournal } from './step-journal.ts';

/** Outcome of the undo of a step that a killed runner left. */
export interface Recovered {
  readonly step: string;
  readonly action: string;
  /** Why it could not be undone; absent if it was. */
  readonly error?: string;
}

/**
 * Undoes the outstanding steps of a killed runner, the last one first. May be repeated: a step that was undone is not undone again.
 * @param lines the journal of the run
 */
export const recoverSteps = async (
  lines: readonly JournalLine[],
  lab: Pick<Lab, 'undo'> & { readonly clock: Pick<Lab['clock'], 'now'> },
  journal: StepJournal,
): Promise<readonly Recovered[]> => {
  const recovered: Recovered[] = [];
  for (const undo of outstandingIn(lines)) {
    const { step, action } = undo;
    try {
      await lab.undo(undo, true);
      journal.append({ kind: 'undone', step, atMs: lab.clock.now() });
      recovered.push({ step, action });
    } catch (error) {
      recovered.push({ step, action, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return recovered;
};
