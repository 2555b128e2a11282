import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { GrantHolderEvent } from './events.ts';

/**
 * Which assignment gives a principal a role on a scope: one stream for each such grant, so that of several assignments that
 * are made at the same moment one finds the stream as it read it, and the others do not.
 *
 *   nobody ──hold──▶ held by an assignment ──hold, once that one is removed──▶ held by the next
 *
 * Written in the commit that makes the assignment, and by nothing else: a removed assignment does not come back, so whoever
 * reads that the holder is removed knows that nobody gives the grant.
 */
export type GrantHolder = { readonly status: 'nobody' } | { readonly status: 'held'; readonly assignment: string };

/** How holders are stored. */
export const grantHolders: CategoryDefinition<GrantHolder, GrantHolderEvent> = {
  name: 'grant_holder',
  stateVersion: 1,
  initial: { status: 'nobody' },
  evolve: (_holder, { assignment }) => ({ status: 'held', assignment }),
};

/** Makes an assignment the holder; again decides nothing. */
export const hold =
  (at: Instant, assignment: string) =>
  (holder: GrantHolder): readonly GrantHolderEvent[] =>
    holder.status === 'held' && holder.assignment === assignment ? [] : [{ type: 'GrantHeld', assignment, at }];
