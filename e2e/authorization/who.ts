import type { AccessPolicy_KeyPermission } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { Workload } from '@interlock/rpc';

/** Every service. */
export const services: readonly Workload[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];

/** A permission of an access policy, except ALL (KV-72). */
export type Permission = Exclude<AccessPolicy_KeyPermission, 'KEY_PERMISSION_UNSPECIFIED' | 'UNRECOGNIZED' | 'ALL'>;

/** Built-in roles that the table names, without `roles/`. */
export type RoleName =
  | 'owner'
  | 'contributor'
  | 'reader'
  | 'operator'
  | 'keyVaultAdministrator'
  | 'keyVaultCryptoOfficer'
  | 'keyVaultCryptoUser'
  | 'keyVaultCryptoServiceEncryptionUser'
  | 'keyVaultReader'
  | 'keyVaultPurgeOperator'
  | 'keyVaultDataAccessAdministrator';

/** A role at a scope. */
export interface Role {
  readonly role: RoleName;
  readonly at: string;
}

/** A line of a vault's access policies. */
export interface Policy {
  readonly vault: 'policyVault' | 'roleVault';
  readonly permissions: readonly AccessPolicy_KeyPermission[];
}

/** A user's application with exactly these grants. */
export interface PrincipalWho {
  readonly kind: 'principal';
  readonly tenant: 'own' | 'other';
  readonly roles: readonly Role[];
  readonly policies: readonly Policy[];
}

/** A caller. Equal values are the same caller. */
export type Who =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'service'; readonly service: Workload }
  | PrincipalWho
  /** Presents an access token of a disk instead of a bearer token. */
  | {
      readonly kind: 'disk access';
      readonly access: 'current' | 'ended' | 'readOnly' | 'ofAnotherDisk';
    };

/** A principal of our tenant. The same role at the same scope counts once. */
export const principal = (roles: readonly Role[], policies: readonly Policy[] = []): PrincipalWho => ({
  kind: 'principal',
  tenant: 'own',
  roles: roles.filter((one, n) => roles.findIndex(({ role, at }) => role === one.role && at === one.at) === n),
  policies,
});
