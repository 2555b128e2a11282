import type { Instant } from '@interlock/runtime';
import type { NetworkRules } from './network-rules.ts';

/** A permission on the keys of a vault (KV-72). `all` includes every other one, also purge. */
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
  | 'getrotationpolicy'
  | 'setrotationpolicy';

/** Which grants count in a vault (KV-70). */
export type PermissionModel = 'access_policy' | 'role_assignment';

/** The permissions of each principal (`principals/<id>`). */
export type AccessPolicies = Readonly<Record<string, readonly KeyPermission[]>>;

/** A vault to create. */
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
  /** Absent: its keys can be reached from everywhere. */
  readonly networkRules?: NetworkRules;
}

/** The events of one vault. Their names and fields are on disk. */
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
  | { readonly type: 'NetworkRulesSet'; readonly networkRules: NetworkRules; readonly at: Instant }
  | {
      /** A role or principal changed at identity that counts in this vault. */
      readonly type: 'GrantsChanged';
      /** `roleAssignments/<id>` or `principals/<id>`. */
      readonly source: string;
      /** Position of the change in identity's feed. */
      readonly position: number;
      readonly principal: string;
      /** `vaults/<v>/keys/<k>` when the role was for one key; absent for the whole vault. */
      readonly key?: string;
      readonly removed: boolean;
      readonly at: Instant;
    }
  | {
      /**
       * Identity's answer about a use of a key differs from the last recorded one, and no fact of identity has arrived yet. The
       * event gives that loss its epoch (G1). Repeated refusals add no events.
       */
      readonly type: 'IdentityAnswerChanged';
      readonly principal: string;
      /** `vaults/<v>/keys/<k>` */
      readonly key: string;
      readonly removed: boolean;
      /** Position in identity's feed at which the response was given. */
      readonly position: number;
      readonly at: Instant;
    }
  | { readonly type: 'VaultDeleted'; readonly purgeAt: Instant; readonly at: Instant }
  | { readonly type: 'VaultRecovered'; readonly at: Instant }
  | {
      /** From here on the vault cannot be recovered. Its keys are purged before its name is free. */
      readonly type: 'VaultPurgeStarted';
      readonly at: Instant;
    }
  | { readonly type: 'VaultPurged'; readonly at: Instant };
