import type { Instant } from '@interlock/runtime';

/** What the judge reads of the events of a key. The stream names it: `key-vaults/<v>/keys/<k>`. */
export type ReadKeyEvent =
  | {
      readonly type: 'KeyVersionCreated';
      readonly version: string;
      readonly enabled: boolean;
      readonly notBefore?: Instant;
      readonly expiresAt?: Instant;
      readonly operations: readonly string[];
      /** Modulus as in a JWK. */
      readonly n: string;
      readonly at: Instant;
    }
  | {
      readonly type: 'KeyVersionEnabled' | 'KeyVersionDisabled' | 'KeyVersionBegan' | 'KeyVersionExpired';
      readonly version: string;
    }
  | {
      readonly type: 'KeyVersionDatesSet';
      readonly version: string;
      readonly notBefore?: Instant;
      readonly expiresAt?: Instant;
      readonly at: Instant;
    }
  | { readonly type: 'KeyOperationsSet'; readonly version: string; readonly operations: readonly string[] }
  | { readonly type: 'KeyDeleted' | 'KeyRecovered' | 'KeyPurged' };

/** Which grants count in a vault (KV-70). */
export type PermissionModel = 'access_policy' | 'role_assignment';

/** From where the keys of a vault can be reached (CMK-29). */
export interface NetworkRules {
  readonly defaultAction: 'allow' | 'deny';
  /** Whether sets and their disks are served whatever the rules. */
  readonly bypass: boolean;
  readonly publicAccessDisabled: boolean;
}

/** The permissions of each principal (`principals/<id>`). */
export type AccessPolicies = Readonly<Record<string, readonly string[]>>;

/** What the judge reads of the events of a vault. The stream names it: `vault-<v>`. */
export type ReadVaultEvent =
  | {
      readonly type: 'VaultCreated';
      /** `subscriptions/<s>/resourceGroups/<g>` */
      readonly resourceGroup: string;
      readonly permissionModel: PermissionModel;
      readonly accessPolicies: AccessPolicies;
      /** Absent: its keys can be reached from everywhere. */
      readonly networkRules?: NetworkRules;
    }
  | { readonly type: 'AccessPolicySet'; readonly principal: string; readonly permissions: readonly string[] }
  | { readonly type: 'AccessPolicyRemoved'; readonly principal: string }
  | { readonly type: 'NetworkRulesSet'; readonly networkRules: NetworkRules }
  | { readonly type: 'PermissionModelSet'; readonly permissionModel: PermissionModel }
  | { readonly type: 'VaultDeleted' | 'VaultRecovered' | 'VaultPurged' };
