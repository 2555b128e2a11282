import type { ActionName } from '../experiment.ts';
import type { Outcome } from '../verdict.ts';

/** An action of a candidate, with its undo. Times in milliseconds. */
export interface Move {
  /** Only of a step of the file: expectations may name it. */
  readonly name?: string;
  readonly action: ActionName;
  readonly targets: readonly string[];
  /** After the start of the timeline. */
  readonly atMs: number;
  /** When it is undone; absent: never, because it is over when it is done, or cannot be undone. */
  readonly forMs?: number;
  /** Its undo also starts the machines that it stopped. */
  readonly start: boolean;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** A timeline of a search, and the seed of its history. */
export interface Candidate {
  readonly moves: readonly Move[];
  readonly seed: number;
}

/** A candidate as an experiment file. */
export interface Trial extends Candidate {
  readonly text: string;
}

/** What a history of a trial showed. */
export interface Played {
  readonly outcome: Outcome;
  /** One sentence. */
  readonly because: string;
  /** Names of the rules that did not hold: expectations as in the file, guarantees without their subject. */
  readonly violated: readonly string[];
  /** How much of each limit was used: 1 is the limit. */
  readonly closeness: Readonly<Record<string, number>>;
}

/** Plays trials; results in the same order. */
export type Play = (trials: readonly Trial[]) => Promise<readonly Played[]>;
