import type { CategoryDefinition } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';

/** The events of removed owners of the platform: one stream. Names and shapes are stored: add, never rename or reuse. */
export type OwnerRemovalEvent = {
  /** Another owner with a usable secret existed at that time. */
  readonly type: 'PlatformOwnerRemoved';
  /** `principals/<id>` */
  readonly principal: string;
  readonly at: Instant;
};

/** The owner that was removed last, written in the commit that removes it. */
export interface OwnerRemovals {
  /** `principals/<id>` */
  readonly latest?: string;
}

/** The one stream of this category. */
export const ownerRemovalsId = 'platform';

/** How the removals are stored. */
export const ownerRemovals: CategoryDefinition<OwnerRemovals, OwnerRemovalEvent> = {
  name: 'owner_removal',
  readable: ['principal', 'at'],
  stateVersion: 1,
  initial: {},
  evolve: (_removals, { principal }) => ({ latest: principal }),
};

/** Notes that a principal is no longer an owner. */
export const noteRemoval = (at: Instant, principal: string) => (): readonly OwnerRemovalEvent[] => [
  { type: 'PlatformOwnerRemoved', principal, at },
];
