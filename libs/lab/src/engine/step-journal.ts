import type { Undo } from '../target.ts';
import { isFaultAction, isUndoable, takesAccess } from '../timeline/actions.ts';

/** A line of the journal of a run. Times in milliseconds since the epoch. */
export type JournalLine =
  /** Stored before the step is carried out. */
  | { readonly kind: 'intent'; readonly step: string; readonly atMs: number; readonly undo: Undo }
  /** The step was carried out; with `error` it failed, but may have taken effect. */
  | { readonly kind: 'done'; readonly step: string; readonly atMs: number; readonly error?: string }
  /** The step was undone. */
  | { readonly kind: 'undone'; readonly step: string; readonly atMs: number };

/** Journal of the engine's intents and results. A line is on storage when `append` returns. */
export interface StepJournal {
  append(line: JournalLine): void;
}

/**
 * The order in which steps are undone, the last step first: parts of the cloud, because keys are given back through them; lost keys,
 * because what users did is undone with them; and the rest.
 */
export const undoOrder = <Started extends { readonly action: string }>(
  started: readonly Started[],
): readonly Started[] => {
  const lastFirst = started.toReversed();
  const rankOf = ({ action }: Started): number => (isFaultAction(action) ? 0 : takesAccess(action) ? 1 : 2);
  return lastFirst.toSorted((one, other) => rankOf(one) - rankOf(other));
};

/** Started steps that can be undone and were not, in the order of their undo. */
export const outstandingIn = (lines: readonly JournalLine[]): readonly Undo[] => {
  const left = new Map<string, Undo>();
  for (const line of lines) {
    if (line.kind === 'intent' && isUndoable(line.undo.action)) left.set(line.step, line.undo);
    if (line.kind === 'undone') left.delete(line.step);
  }
  return undoOrder([...left.values()]);
};
