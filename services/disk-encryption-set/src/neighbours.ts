import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { RpcClient } from '@interlock/rpc';

/** What sets need of key-vault: public facts about a key, and its owner's word. Never the use of a key (CMK-07). */
export type KeyVault = Pick<
  RpcClient<typeof KeyVaultServiceDefinition>,
  'resolveKeyForEncryption' | 'findNewerKeyVersion' | 'authorizeRewrap' | 'authorizeImpactPreview'
>;

/** What sets need of disk: who uses a set, and every use of a key, done there as the set's identity. */
export type Disks = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'checkKeyAccess' | 'beginGeneration' | 'listEncryptedResources' | 'rewrapDeks'
>;

/** What sets need of identity: which subscriptions a tenant has, and an identity of their own. */
export type Identities = Pick<
  RpcClient<typeof IdentityServiceDefinition>,
  'listSubscriptions' | 'createManagedIdentity' | 'deletePrincipal'
>;

/** What sets need of compute: what a lost key would do to machines, decided by the function that stops them. */
export type Machines = Pick<RpcClient<typeof ComputeServiceDefinition>, 'previewKeyLoss'>;

/** The other services, as far as sets need them. */
export interface Neighbours {
  readonly keyVault: KeyVault;
  readonly disks: Disks;
  readonly identities: Identities;
  readonly machines: Machines;
}
