import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { OwnerRemovalEvent } from './events.ts';

/**
 * Who was the last to stop being an owner of the platform: one stream for all of them, written in the commit that takes one
 * away.
 */
export interface OwnerRemovals {
  /** `principals/<id>` */
  readonly latest?: string;
}

/** The one stream of this category. */
export const ownerRemovalsId = 'platform';

/** How the removals are stored. */
export const ownerRemovals: CategoryDefinition<OwnerRemovals, OwnerRemovalEvent> = {
  name: 'owner_removal',
  stateVersion: 1,
  initial: {},
  evolve: (_removals, { principal }) => ({ latest: principal }),
};

/** Notes that a principal is no longer an owner; it may have become one again since it was last noted. */
export const noteRemoval = (at: Instant, principal: string) => (): readonly OwnerRemovalEvent[] => [
  { type: 'PlatformOwnerRemoved', principal, at },
];
