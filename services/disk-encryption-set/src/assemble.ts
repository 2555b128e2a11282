import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { type Assemble, type Assembly, openSubscriptions, type Seams } from '@interlock/host';
import { type Authorization, service } from '@interlock/rpc';
import { keyChoice } from './key/key-choice.ts';
import { toFact } from './published.ts';
import { reactions } from './reactor.ts';
import { meterRotations } from './rotation/rotation-metrics.ts';
import { setApi } from './set/api.ts';
import { impactApi } from './set/impact-api.ts';
import { keyApi } from './set/key-api.ts';
import { optionsApi } from './set/options-api.ts';
import { sets as setStreams } from './set/streams.ts';
import { watchApi } from './set/watch.ts';
import type { Neighbours } from './sets.ts';
import { Upkeep, type UpkeepSettings } from './upkeep/upkeep.ts';

/** Settings of the service. */
export interface DiskEncryptionSetSettings {
  /** Whether a key's vault must have purge protection on (CMK-22). */
  readonly requirePurgeProtection: boolean;
  /** Sets of one subscription in one region (CMK-140). */
  readonly setsPerRegionMax: number;
  readonly upkeep: UpkeepSettings;
}

/** Assembles the service, with clients from the seams. */
export const assemble: Assemble<DiskEncryptionSetSettings> = (seams) =>
  assembleBeside(seams, {
    keyVault: seams.client('key-vault', KeyVaultServiceDefinition),
    disks: seams.client('disk', DiskServiceDefinition),
    identities: seams.client('identity', IdentityServiceDefinition),
    machines: seams.client('compute', ComputeServiceDefinition),
  });

/** Assembles the service with the given clients. */
export const assembleBeside = async (
  seams: Seams<DiskEncryptionSetSettings>,
  neighbours: Neighbours,
): Promise<Assembly> => {
  const { store, openCategory, clock, random, log, tracer, meter, settings, authorize, scope } = seams;
  const { setsPerRegionMax, requirePurgeProtection } = settings;
  const sets = await openCategory(setStreams);
  const parts = { ...neighbours, clock, sets, requirePurgeProtection };
  const ending = new AbortController();
  const upkeep = new Upkeep({ ...parts, random, log, tracer, settings: settings.upkeep, signal: ending.signal });
  scope.defer('rotation metrics', meterRotations({ meter, sets }));
  scope.defer('work on sets', () => {
    ending.abort();
    return upkeep.idle();
  });
  const subscriptions = openSubscriptions(neighbours.identities);
  const chooseKey = keyChoice({ ...parts, subscriptions });
  const { schedule } = upkeep;
  const handlers = reactions({ clock, sets, schedule });
  const implementation = {
    ...setApi({ ...parts, random, log, authorize, subscriptions, chooseKey, schedule, setsPerRegionMax }),
    ...keyApi({ ...parts, chooseKey, schedule }),
    ...impactApi({ ...parts, authorize }),
    ...optionsApi({ ...parts, random, authorize, schedule }),
    ...watchApi({ store, sets }),
  };
  return {
    services: [service({ definition: DiskEncryptionSetServiceDefinition, implementation, authorization })],
    toFact,
    reactions: [
      { source: 'key-vault', handlers: handlers.keyVault },
      { source: 'identity', handlers: handlers.identity },
    ],
    background: upkeep.watchdogs(),
  };
};

const ofParent = ({ parent }: { readonly parent: string }): string => parent;
const ofName = ({ name }: { readonly name: string }): string => name;

const authorization: Authorization<typeof DiskEncryptionSetServiceDefinition> = {
  createDiskEncryptionSet: { action: 'compute/diskEncryptionSets/write', scope: ofParent },
  getDiskEncryptionSet: {
    authenticated: true,
    why: 'compute/diskEncryptionSets/read on the set, or the disk or compute service',
  },
  listDiskEncryptionSets: { action: 'compute/diskEncryptionSets/read', scope: ofParent },
  updateDiskEncryptionSet: { action: 'compute/diskEncryptionSets/write', scope: ofName },
  deleteDiskEncryptionSet: { action: 'compute/diskEncryptionSets/delete', scope: ofName },
  assignKey: { action: 'compute/diskEncryptionSets/write', scope: ofName },
  listAssociatedResources: { action: 'compute/diskEncryptionSets/read', scope: ofName },
  resumeRotation: { action: 'compute/diskEncryptionSets/write', scope: ofName },
  previewImpact: {
    authenticated: true,
    why: 'permission for the change itself at the vault; for an identity compute/diskEncryptionSets/read on its set; or compute/diskEncryptionSets/read on the platform',
  },
  watchDiskEncryptionSet: { action: 'compute/diskEncryptionSets/read', scope: ofName },
};
