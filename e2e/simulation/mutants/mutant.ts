import type { Guarantee } from '../../oracle/verdict.ts';

/** A bug planted in a source file while it is loaded. */
export interface Mutant {
  /** What an engineer did, in a few words. */
  readonly name: string;
  /** The promise it breaks: only a violation of this one counts as found. */
  readonly guarantee: Guarantee;
  /** Path from the root of the repository. */
  readonly file: string;
  /** Text that occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** A known bug of this kind, for those who want to read on. */
  readonly seenIn?: string;
}
