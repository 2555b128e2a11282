import type { Instant } from '@interlock/runtime';

/** The facts of one tenant. These names and shapes are on disk: add; never rename, never reuse. */
export type TenantEvent = { readonly type: 'TenantCreated'; readonly displayName: string; readonly at: Instant };

/** The facts of one subscription: a container of resource groups, and with them of vaults, sets, disks and machines. */
export type SubscriptionEvent = {
  readonly type: 'SubscriptionCreated';
  /** `tenants/<id>` that owns it. */
  readonly tenant: string;
  readonly displayName: string;
  readonly at: Instant;
};
