import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** The events of the holder of one grant. Names and shapes are stored: add, never rename or reuse. */
export type GrantHolderEvent = {
  /** From now on this assignment gives the grant. */
  readonly type: 'GrantHeld';
  /** Id of the assignment. */
  readonly assignment: string;
  readonly at: Instant;
};

/**
 * The assignment that gives a principal a role on a scope: one stream a grant, so that of several assignments created at the
 * same time only one finds the stream as it read it. Written in the commit that stores the assignment. A removed assignment
 * does not come back: if the holder is removed, no assignment gives the grant.
 */
export type GrantHolder = { readonly status: 'none' } | { readonly status: 'held'; readonly assignment: string };

/** How holders are stored. */
export const grantHolders: CategoryDefinition<GrantHolder, GrantHolderEvent> = {
  name: 'grant_holder',
  readable: ['assignment', 'at'],
  stateVersion: 1,
  initial: { status: 'none' },
  evolve: (_holder, { assignment }) => ({ status: 'held', assignment }),
};

/** Makes an assignment the holder. */
export const hold =
  (at: Instant, assignment: string) =>
  (holder: GrantHolder): readonly GrantHolderEvent[] =>
    holder.status === 'held' && holder.assignment === assignment ? [] : [{ type: 'GrantHeld', assignment, at }];
