import type { Instant } from '@interlock/runtime';

/** One thing a principal may do with the keys of a vault (KV-72). `all` stands for every other one, purge included. */
export type KeyPermission =
  | 'all'
  | 'get'
  | 'list'
  | 'create'
  | 'import'
  | 'update'
  | 'delete'
  | 'recover'
  | 'purge'
  | 'backup'
  | 'restore'
  | 'encrypt'
  | 'decrypt'
  | 'wrapKey'
  | 'unwrapKey'
  | 'sign'
  | 'verify'
  | 'release'
  | 'rotate'
  | 'getRotationPolicy'
  | 'setRotationPolicy';

/** Which grants count in a vault (KV-70). */
export type PermissionModel = 'access_policy' | 'role_assignment';

/** What each principal (`principals/<id>`) may do. */
export type AccessPolicies = Readonly<Record<string, readonly KeyPermission[]>>;

/** What is said about a vault when it is made. */
export interface NewVault {
  /** `subscriptions/<s>/resourceGroups/<g>` */
  readonly resourceGroup: string;
  /** `tenants/<t>` of the subscription */
  readonly tenant: string;
  readonly location: string;
  readonly sku: 'standard' | 'premium';
  readonly permissionModel: PermissionModel;
  readonly accessPolicies: AccessPolicies;
  /** 7 to 90 (KV-61). */
  readonly retentionDays: number;
  readonly purgeProtected: boolean;
}

/** The facts of one vault. These names and shapes are on disk: add; never rename, never reuse. */
export type VaultEvent =
  | ({ readonly type: 'VaultCreated'; readonly at: Instant } & NewVault)
  | { readonly type: 'PurgeProtectionEnabled'; readonly at: Instant }
  | {
      readonly type: 'AccessPolicySet';
      readonly principal: string;
      readonly permissions: readonly KeyPermission[];
      readonly at: Instant;
    }
  | { readonly type: 'AccessPolicyRemoved'; readonly principal: string; readonly at: Instant }
  | { readonly type: 'PermissionModelSet'; readonly permissionModel: PermissionModel; readonly at: Instant }
  | {
      /** Something changed at identity that counts here. */
      readonly type: 'GrantsChanged';
      /** What changed there: `roleAssignments/<id>` or `principals/<id>`. */
      readonly source: string;
      /** Place of the change in identity's feed. */
      readonly position: number;
      readonly principal: string;
      /** `vaults/<v>/keys/<k>` when the role was for one key; absent for the whole vault. */
      readonly key?: string;
      readonly removed: boolean;
      readonly at: Instant;
    }
  | {
      /**
       * A use of a key met another answer of identity than the last one on record, before anybody told of a change. The
       * note gives that loss its number (G1): only turns are noted, so a principal that is refused again adds nothing.
       */
      readonly type: 'IdentityAnswerTurned';
      readonly principal: string;
      /** `vaults/<v>/keys/<k>` */
      readonly key: string;
      readonly removed: boolean;
      /** Place in identity's feed as of which the answer holds. */
      readonly position: number;
      readonly at: Instant;
    }
  | { readonly type: 'VaultDeleted'; readonly purgeAt: Instant; readonly at: Instant }
  | { readonly type: 'VaultRecovered'; readonly at: Instant }
  | {
      /** The point of no return: from here the vault cannot be recovered, and its keys go before its name is free. */
      readonly type: 'VaultPurgeBegun';
      readonly at: Instant;
    }
  | { readonly type: 'VaultPurged'; readonly at: Instant };
