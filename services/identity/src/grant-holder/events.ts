import type { Instant } from '@interlock/runtime';

/** The facts of the holder of one grant. These names and shapes are on disk: add; never rename, never reuse. */
export type GrantHolderEvent = {
  /** From now on this assignment is the one that gives the grant. */
  readonly type: 'GrantHeld';
  /** Id of the assignment. */
  readonly assignment: string;
  readonly at: Instant;
};
