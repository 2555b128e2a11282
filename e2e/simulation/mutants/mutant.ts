import type { Guarantee } from '@interlock/lab/judge/findings';

/** A bug planted in a source file while it is loaded. */
export interface Mutant {
  /** The bug, in a few words. */
  readonly name: string;
  /** The guarantee that it breaks: only a violation of this one counts as found. */
  readonly guarantee: Guarantee;
  /** Path from the root of the repository. */
  readonly file: string;
  /** Text that occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** A known bug of this kind, for further reading. */
  readonly seenIn?: string;
}
