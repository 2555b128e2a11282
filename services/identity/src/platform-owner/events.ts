import type { Instant } from '@interlock/runtime';

/** The facts of who stopped being an owner of the platform: one stream. These names and shapes are on disk: add; never rename, never reuse. */
export type OwnerRemovalEvent = {
  /** Somebody else was an owner with a secret to act with at that time. */
  readonly type: 'PlatformOwnerRemoved';
  /** `principals/<id>` */
  readonly principal: string;
  readonly at: Instant;
};
