import { KeyAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import { PreviewKeyLossResponse } from '@interlock/contracts/interlock/compute/v1/key_loss_preview.ts';
import {
  BeginGenerationResponse,
  type DeepPartial,
  EncryptedResource,
  ListEncryptedResourcesResponse,
  type RewrapDekOutcome,
  type RewrapDeksRequest,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { Rejection } from '@interlock/event-store';
import { itemRefusal } from '@interlock/rpc';
import type { Disks, Machines } from '../sets.ts';
import { keyIn, requireUse } from './test-neighbour-keys.ts';
import { type FakeState, methodsOf } from './test-neighbour-state.ts';

const outcomeOf = (work: () => EncryptedResource): RewrapDekOutcome['outcome'] => {
  try {
    return { $case: 'moved', value: work() };
  } catch (error) {
    return { $case: 'refused', value: { ...itemRefusal(error) } };
  }
};

/** @throws Rejection TARGET_WEAKER_PROTECTED */
const requireProtection = (state: FakeState, source: string, target: string): void => {
  const [from, into] = [source, target].map((version) => keyIn(state, version).resolved.purgeProtectionEnabled);
  if (!from || into) return;
  const metadata = { key_version: target };
  throw new Rejection('FAILED_PRECONDITION', 'TARGET_WEAKER_PROTECTED', target, metadata);
};

/** Moves a disk of an earlier generation to a key version. @throws Rejection of the disk service or of the vault */
const rewrapOne = (
  state: FakeState,
  name: string,
  { targetKeyVersion = '', generation = 0 }: Omit<DeepPartial<RewrapDeksRequest>, 'names'>,
): EncryptedResource => {
  const disk = state.stock.get(name);
  if (!disk) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', name);
  if (generation !== state.generations.get(disk.set)) {
    throw new Rejection('FAILED_PRECONDITION', 'GENERATION_OUTDATED', `${generation}`);
  }
  if (disk.damaged) throw new Rejection('DATA_LOSS', 'HEADER_CORRUPT', name);
  if (disk.generation < generation) {
    const authorization = `${disk.keyVersion} ${targetKeyVersion}`;
    if (!state.authorizations.includes(authorization) && keyIn(state, disk.keyVersion).lost !== 'KEY_EXPIRED') {
      requireUse(state, disk.keyVersion);
    }
    requireUse(state, targetKeyVersion);
    requireProtection(state, disk.keyVersion, targetKeyVersion);
    Object.assign(disk, { keyVersion: targetKeyVersion, generation });
  }
  return EncryptedResource.fromPartial({ name, ...disk });
};

/** The methods of the disk service that the sets call. */
export const fakeDisks = (state: FakeState): Disks => {
  const call = methodsOf(state);
  return {
    checkKeyAccess: call('checkKeyAccess', ({ keyVersion = '', principal = '' }) => {
      if (state.principals.get(principal)?.isDeleted) {
        throw new Rejection('FAILED_PRECONDITION', 'IDENTITY_DELETED', principal);
      }
      requireUse(state, keyVersion);
      return KeyAccess.fromPartial({ keyVersion, accessEpoch: state.epoch, enabled: true });
    }),
    beginGeneration: call('beginGeneration', ({ diskEncryptionSet = '', generation = 0 }) => {
      const inForce = Math.max(generation, state.generations.get(diskEncryptionSet) ?? 0);
      state.generations.set(diskEncryptionSet, inForce);
      return BeginGenerationResponse.fromPartial({ generation: inForce });
    }),
    listEncryptedResources: call('listEncryptedResources', (request) => {
      const { diskEncryptionSet, belowGeneration = 0, pageSize = 0, pageToken = '' } = request;
      const after = [...state.stock]
        .filter(([, disk]) => disk.set === diskEncryptionSet)
        .filter(([, { generation }]) => belowGeneration === 0 || generation < belowGeneration)
        .map(([name, { set: _set, ...disk }]) => EncryptedResource.fromPartial({ name, ...disk }))
        .sort((one, other) => (one.name < other.name ? -1 : 1))
        .filter(({ name }) => name > pageToken);
      const resources = after.slice(0, pageSize || 100);
      const nextPageToken = after.length > resources.length ? (resources.at(-1)?.name ?? '') : '';
      return ListEncryptedResourcesResponse.fromPartial({ resources, nextPageToken });
    }),
    rewrapDeks: call('rewrapDeks', ({ names = [], ...target }) => ({
      outcomes: names.map((name) => ({ outcome: outcomeOf(() => rewrapOne(state, name, target)), event: '' })),
    })),
  };
};

/** The preview of a loss by compute. */
export const fakeMachines = (state: FakeState): Machines => ({
  previewKeyLoss: methodsOf(state)('previewKeyLoss', (request) => {
    const { diskEncryptionSet, keyVersions = [], pageSize = 0, pageToken = '' } = request;
    const isUnder = (name: string): boolean => {
      const disk = state.stock.get(name);
      return disk !== undefined && disk.set === diskEncryptionSet && keyVersions.includes(disk.keyVersion);
    };
    const looked = [...state.fleet].filter(([name]) => name > pageToken).slice(0, pageSize);
    const impacts = looked
      .map(([virtualMachine, disks]) => ({ virtualMachine, disks: disks.filter(isUnder) }))
      .filter(({ disks }) => disks.length > 0)
      .map((one) => ({ ...one, outcome: 'STOPS', powerState: 'RUNNING' }) as const);
    const last = looked.at(-1)?.[0] ?? '';
    const isMore = [...state.fleet.keys()].some((name) => name > last);
    return PreviewKeyLossResponse.fromPartial({ impacts, nextPageToken: isMore ? last : '' });
  }),
});
