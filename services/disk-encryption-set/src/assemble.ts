import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Assemble, type Assembly, openSubscriptions, type Seams } from '@interlock/host';
import { service } from '@interlock/rpc';
import { checkAccess } from './key/access-check.ts';
import { keyChoice } from './key/key-choice.ts';
import type { Neighbours } from './neighbours.ts';
import { toFact } from './published.ts';
import { reactions } from './reactor.ts';
import { meterRotations } from './rotation/rotation-metrics.ts';
import { setApi } from './set/api.ts';
import { impactApi } from './set/impact-api.ts';
import { keyApi } from './set/key-api.ts';
import { optionsApi } from './set/options-api.ts';
import { sets as setStreams } from './set/streams.ts';
import { watchApi } from './set/watch.ts';
import { finishCreation } from './upkeep/creation.ts';
import { finishDeletion } from './upkeep/deletion.ts';
import { type UpkeepSettings, upkeep } from './upkeep/upkeep.ts';

/** What the service is told from outside. */
export interface DiskEncryptionSetSettings {
  /** Whether a key's vault must have purge protection on (CMK-22). */
  readonly requirePurgeProtection: boolean;
  /** Sets of one subscription in one region (CMK-140). */
  readonly setsPerRegionMax: number;
  readonly upkeep: UpkeepSettings;
}

/** Puts the service together, with the clients of the others made from the seams. */
export const assemble: Assemble<DiskEncryptionSetSettings> = (seams) =>
  assembleBeside(seams, {
    keyVault: seams.client('key-vault', KeyVaultServiceDefinition),
    disks: seams.client('disk', DiskServiceDefinition),
    identities: seams.client('identity', IdentityServiceDefinition),
    machines: seams.client('compute', ComputeServiceDefinition),
  });

/** Puts the service together beside given neighbours. */
export const assembleBeside = async (
  seams: Seams<DiskEncryptionSetSettings>,
  neighbours: Neighbours,
): Promise<Assembly> => {
  const { store, openCategory, clock, random, log, tracer, meter, settings, authorize, scope } = seams;
  const sets = await openCategory(setStreams);
  const parts = { ...neighbours, clock, sets, requirePurgeProtection: settings.requirePurgeProtection };
  const ending = new AbortController();
  const work = upkeep({ ...parts, random, log, tracer, settings: settings.upkeep, signal: ending.signal });
  scope.defer('rotation metrics', meterRotations({ meter, sets }));
  scope.defer('work on sets', () => {
    ending.abort();
    return work.idle();
  });
  const subscriptions = openSubscriptions(neighbours.identities);
  const chooseKey = keyChoice({ ...parts, subscriptions });
  const { attend } = work;
  const reacts = reactions({ clock, sets, attend });

  const api = service({
    definition: DiskEncryptionSetServiceDefinition,
    implementation: {
      ...setApi({
        clock,
        random,
        log,
        authorize,
        sets,
        subscriptions,
        chooseKey,
        attend,
        finishCreation: (set, cause) => finishCreation(parts, set, cause),
        firstCheck: async (set, cause) => {
          await checkAccess(parts, set, cause);
        },
        finishDeletion: (set, cause) => finishDeletion(parts, set, cause),
        setsPerRegionMax: settings.setsPerRegionMax,
      }),
      ...keyApi({ ...parts, chooseKey, attend }),
      ...impactApi({ ...parts, authorize }),
      ...optionsApi({ ...parts, random, attend }),
      ...watchApi({ store, sets }),
    },
    authorization: {
      createDiskEncryptionSet: { action: 'compute/diskEncryptionSets/write', scope: ({ parent }) => parent },
      getDiskEncryptionSet: {
        authenticated: true,
        why: 'compute/diskEncryptionSets/read on the set, or one of our services',
      },
      listDiskEncryptionSets: { action: 'compute/diskEncryptionSets/read', scope: ({ parent }) => parent },
      updateDiskEncryptionSet: { action: 'compute/diskEncryptionSets/write', scope: ({ name }) => name },
      deleteDiskEncryptionSet: { action: 'compute/diskEncryptionSets/delete', scope: ({ name }) => name },
      assignKey: { action: 'compute/diskEncryptionSets/write', scope: ({ name }) => name },
      listAssociatedResources: { action: 'compute/diskEncryptionSets/read', scope: ({ name }) => name },
      resumeRotation: { action: 'compute/diskEncryptionSets/write', scope: ({ name }) => name },
      previewImpact: {
        authenticated: true,
        why: 'whoever may take the key away, by the grants of its vault; for an identity compute/diskEncryptionSets/read on its set; or that on the platform',
      },
      watchDiskEncryptionSet: { action: 'compute/diskEncryptionSets/read', scope: ({ name }) => name },
    },
  });

  return {
    services: [api],
    toFact,
    reactions: [
      { source: 'key-vault', handlers: reacts.keyVault },
      { source: 'identity', handlers: reacts.identity },
    ],
    background: work.watchdogs,
  };
};
