import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Category, type Cause, continuing, stepIds } from '@interlock/event-store';
import type { RpcClient } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { SetEvent } from './set/events.ts';
import type { DiskEncryptionSet } from './set/state.ts';

/** Public facts about keys and the owner's authorization. Never the use of a key (CMK-07). */
export type KeyVault = Pick<
  RpcClient<typeof KeyVaultServiceDefinition>,
  'resolveKeyForEncryption' | 'findNewerKeyVersion' | 'authorizeRewrap' | 'authorizeImpactPreview'
>;

/** Users of a set, and every use of a key, which the disk service makes as the set's identity. */
export type Disks = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'checkKeyAccess' | 'beginGeneration' | 'listEncryptedResources' | 'rewrapDeks'
>;

/** Subscriptions of a tenant, and the sets' identities. */
export type Identities = Pick<
  RpcClient<typeof IdentityServiceDefinition>,
  'listSubscriptions' | 'createManagedIdentity' | 'deletePrincipal' | 'getPrincipal'
>;

/** The effect of a lost key on machines, decided by the function that stops them. */
export type Machines = Pick<RpcClient<typeof ComputeServiceDefinition>, 'previewKeyLoss'>;

/** The other services. */
export interface Neighbours {
  readonly keyVault: KeyVault;
  readonly disks: Disks;
  readonly identities: Identities;
  readonly machines: Machines;
}

/** What the work on sets needs. */
export interface SetParts extends Neighbours {
  readonly clock: Clock;
  readonly sets: Category<DiskEncryptionSet, SetEvent>;
  /** Whether a key's vault must have purge protection on (CMK-22). */
  readonly requirePurgeProtection: boolean;
}

/** Options of a call for a cause. */
export const callFor = (cause: Cause): { readonly cause: Cause } => ({ cause });

/** Work on a set that continues one of its processes. */
export const forProcess = (cause: Cause, name: string, set: DiskEncryptionSet, process: string): Cause => {
  const ids = stepIds(`set-${name}`, set, process);
  return ids.length === 0 ? cause : continuing(cause, ...ids);
};
