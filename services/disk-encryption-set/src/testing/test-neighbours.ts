import type { LossReason } from '@interlock/access';
import { type DiskSku, KeyAccess } from '@interlock/contracts/interlock/access/v1/access.ts';
import { PreviewKeyLossResponse } from '@interlock/contracts/interlock/compute/v1/key_loss_preview.ts';
import {
  BeginGenerationResponse,
  type DeepPartial,
  EncryptedResource,
  ListEncryptedResourcesResponse,
  type RewrapDekOutcome,
  type RewrapDeksRequest,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import { Principal } from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { ListSubscriptionsResponse } from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import {
  FindNewerKeyVersionResponse,
  KeyForEncryption,
  RewrapAuthorization,
} from '@interlock/contracts/interlock/key_vault/v1/disk_access.ts';
import { Rejection } from '@interlock/event-store';
import { itemRefusal, RpcFailure } from '@interlock/rpc';
import type { Neighbours } from '../sets.ts';

/** A key version of the fake vault; `lost` says why the identity of the set cannot use it. */
export interface FakeKey {
  readonly resolved: KeyForEncryption;
  lost: LossReason | undefined;
}

/** A disk or snapshot of the fake disk service. */
export interface FakeDisk {
  readonly set: string;
  keyVersion: string;
  generation: number;
  readonly sku?: DiskSku;
  readonly managedBy?: string;
  readonly openByMachine?: boolean;
  /** Refuses to be moved for another reason than a key. */
  damaged?: boolean;
}

/** When an injected outage hits a call: before it had its effect, or after it, so that only the response is lost. */
export type Moment = 'before' | 'after';

/** The other services, faked: their state, the calls made to them, and outages on demand. */
export interface FakeNeighbours extends Neighbours {
  readonly keys: Map<string, FakeKey>;
  readonly stock: Map<string, FakeDisk>;
  /** Machines by name, with the disks of each: all of them run. */
  readonly fleet: Map<string, readonly string[]>;
  /** Every identity ever made, by name. */
  readonly principals: Map<string, { readonly owner: string; isDeleted: boolean }>;
  /** Authorizations by owners: `<source> <target>`. */
  readonly words: string[];
  /** Names of the methods called, in order. */
  readonly calls: string[];
  /** Position in key-vault's feed. */
  epoch: number;
  /** Makes the calls chosen by number (from 0, over all methods) fail as an outage does. */
  outage: ((call: number, method: string) => Moment | undefined) | undefined;
}

export const versionOf = (digit: string): string => `vaults/kv1/keys/k1/versions/${digit.repeat(32)}`;
export const urlOf = (digit: string): string => `https://kv1.vault.test/keys/k1/${digit.repeat(32)}`;

/** A usable key in the vault `kv1`. */
export const fakeKey = (digit: string, differences: Partial<KeyForEncryption> = {}): FakeKey => ({
  lost: undefined,
  resolved: KeyForEncryption.fromPartial({
    keyVersion: versionOf(digit),
    keyUrl: urlOf(digit),
    vault: 'vaults/kv1',
    resourceGroup: 'subscriptions/s1/resourceGroups/g',
    subscription: 'subscriptions/s1',
    tenant: 'tenants/main',
    location: 'westeurope',
    vaultSku: 'STANDARD',
    softDeleteRetentionDays: 90,
    purgeProtectionEnabled: true,
    keyType: 'RSA',
    keySizeBits: 2048,
    enabled: true,
    keyOperations: ['WRAP_KEY', 'UNWRAP_KEY'],
    ...differences,
  }),
});

const keyRefusal = (reason: LossReason, keyVersion: string, epoch: number): Rejection =>
  new Rejection(reason === 'ACCESS_DENIED' ? 'PERMISSION_DENIED' : 'FAILED_PRECONDITION', reason, reason, {
    key_version: keyVersion,
    access_epoch: String(epoch),
  });

const outcomeOf = (work: () => EncryptedResource): RewrapDekOutcome['outcome'] => {
  try {
    return { $case: 'moved', value: work() };
  } catch (error) {
    return { $case: 'refused', value: { ...itemRefusal(error) } };
  }
};

/** Creates them with two usable keys, `1…` and `2…`. */
export const fakeNeighbours = (): FakeNeighbours => {
  const generations = new Map<string, number>();
  const fake: Omit<FakeNeighbours, keyof Neighbours> = {
    keys: new Map(['1', '2'].map((digit) => [versionOf(digit), fakeKey(digit)])),
    stock: new Map(),
    fleet: new Map(),
    principals: new Map(),
    words: [],
    calls: [],
    epoch: 1,
    outage: undefined,
  };

  /** Counts the call, hits it with an outage where one is due, and lets other work run in between as a network would. */
  const call =
    <Request, Answer>(method: string, handle: (request: Request, options?: { token?: string }) => Answer) =>
    async (request: Request, options?: { token?: string }): Promise<Answer> => {
      const number = neighbours.calls.push(method) - 1;
      const moment = neighbours.outage?.(number, method);
      await Promise.resolve();
      if (moment === 'before') throw new RpcFailure('UNAVAILABLE', method, 'fake', 'down');
      const answer = handle(request, options);
      if (moment === 'after') throw new RpcFailure('DEADLINE_EXCEEDED', method, 'fake', 'the answer is lost');
      return answer;
    };
  const keyOf = (keyVersion = ''): FakeKey => {
    const key = neighbours.keys.get(keyVersion);
    if (!key) throw new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', keyVersion, { key_version: keyVersion });
    return key;
  };
  const requireUse = (keyVersion: string): void => {
    const { lost } = keyOf(keyVersion);
    if (lost !== undefined) throw keyRefusal(lost, keyVersion, neighbours.epoch);
  };
  const requireProtection = (source: string, target: string): void => {
    const [from, into] = [source, target].map((version) => keyOf(version).resolved.purgeProtectionEnabled);
    if (!from || into) return;
    const metadata = { key_version: target };
    throw new Rejection('FAILED_PRECONDITION', 'TARGET_WEAKER_PROTECTED', target, metadata);
  };

  const rewrapOne = (
    name: string,
    { targetKeyVersion = '', generation = 0 }: Omit<DeepPartial<RewrapDeksRequest>, 'names'>,
  ): EncryptedResource => {
    const disk = neighbours.stock.get(name);
    if (!disk) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', name);
    if (generation !== generations.get(disk.set)) {
      throw new Rejection('FAILED_PRECONDITION', 'GENERATION_OUTDATED', `${generation}`);
    }
    if (disk.damaged) throw new Rejection('DATA_LOSS', 'HEADER_CORRUPT', name);
    if (disk.generation < generation) {
      const word = `${disk.keyVersion} ${targetKeyVersion}`;
      if (!neighbours.words.includes(word) && keyOf(disk.keyVersion).lost !== 'KEY_EXPIRED') {
        requireUse(disk.keyVersion);
      }
      requireUse(targetKeyVersion);
      requireProtection(disk.keyVersion, targetKeyVersion);
      Object.assign(disk, { keyVersion: targetKeyVersion, generation });
    }
    return EncryptedResource.fromPartial({ name, ...disk });
  };

  const neighbours: FakeNeighbours = {
    ...fake,
    keyVault: {
      resolveKeyForEncryption: call('resolveKeyForEncryption', ({ keyUrl = '' }: { keyUrl?: string | undefined }) => {
        const found = [...neighbours.keys.values()].find(({ resolved }) => resolved.keyUrl === keyUrl);
        if (!found) throw new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', keyUrl);
        return found.resolved;
      }),
      findNewerKeyVersion: call('findNewerKeyVersion', ({ keyVersion = '' }: { keyVersion?: string | undefined }) => {
        // A higher digit names a newer version.
        const newer = [...neighbours.keys.values()]
          .filter(({ resolved }) => resolved.keyVersion > keyVersion)
          .reverse();
        const newest = newer[0];
        const usable = newer.find(({ resolved }) => resolved.enabled);
        return FindNewerKeyVersionResponse.fromPartial({
          ...(usable === undefined ? {} : { newer: usable.resolved }),
          ...(newest === undefined || newest === usable
            ? {}
            : { unusableKeyVersion: newest.resolved.keyVersion, unusableReason: 'KEY_DISABLED' }),
        });
      }),
      authorizeImpactPreview: call('authorizeImpactPreview', ({ name = '' }: { name?: string | undefined }) => ({
        name,
        refusedWith: '',
      })),
      authorizeRewrap: call('authorizeRewrap', (request, options) => {
        const { sourceKeyVersion = '', targetKeyVersion = '' } = request;
        if (options?.token !== 'owner') throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'not the owner');
        neighbours.words.push(`${sourceKeyVersion} ${targetKeyVersion}`);
        return RewrapAuthorization.fromPartial({ sourceKeyVersion, targetKeyVersion });
      }),
    },
    disks: {
      checkKeyAccess: call('checkKeyAccess', ({ keyVersion = '', principal = '' }) => {
        if (neighbours.principals.get(principal)?.isDeleted) {
          throw new Rejection('FAILED_PRECONDITION', 'IDENTITY_DELETED', principal);
        }
        requireUse(keyVersion);
        return KeyAccess.fromPartial({ keyVersion, accessEpoch: neighbours.epoch, enabled: true });
      }),
      beginGeneration: call('beginGeneration', ({ diskEncryptionSet = '', generation = 0 }) => {
        const inForce = Math.max(generation, generations.get(diskEncryptionSet) ?? 0);
        generations.set(diskEncryptionSet, inForce);
        return BeginGenerationResponse.fromPartial({ generation: inForce });
      }),
      listEncryptedResources: call('listEncryptedResources', (request) => {
        const { diskEncryptionSet, belowGeneration = 0, pageSize = 0, pageToken = '' } = request;
        const after = [...neighbours.stock]
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
        outcomes: names.map((name) => ({ outcome: outcomeOf(() => rewrapOne(name, target)), event: '' })),
      })),
    },
    machines: {
      previewKeyLoss: call('previewKeyLoss', (request) => {
        const { diskEncryptionSet, keyVersions = [], pageSize = 0, pageToken = '' } = request;
        const isUnder = (name: string): boolean => {
          const disk = neighbours.stock.get(name);
          return disk !== undefined && disk.set === diskEncryptionSet && keyVersions.includes(disk.keyVersion);
        };
        const looked = [...neighbours.fleet].filter(([name]) => name > pageToken).slice(0, pageSize);
        const impacts = looked
          .map(([virtualMachine, disks]) => ({ virtualMachine, disks: disks.filter(isUnder) }))
          .filter(({ disks }) => disks.length > 0)
          .map((one) => ({ ...one, outcome: 'STOPS', powerState: 'RUNNING' }) as const);
        const last = looked.at(-1)?.[0] ?? '';
        const isMore = [...neighbours.fleet.keys()].some((name) => name > last);
        return PreviewKeyLossResponse.fromPartial({ impacts, nextPageToken: isMore ? last : '' });
      }),
    },
    identities: {
      listSubscriptions: call('listSubscriptions', ({ tenant = '' }) =>
        ListSubscriptionsResponse.fromPartial({
          subscriptions: tenant === 'tenants/main' ? [{ name: 'subscriptions/s1' }, { name: 'subscriptions/s2' }] : [],
        }),
      ),
      createManagedIdentity: call('createManagedIdentity', ({ principalId = '', owner = '' }) => {
        const name = `principals/${principalId}`;
        const known = neighbours.principals.get(name);
        if (known?.isDeleted) throw new Rejection('ALREADY_EXISTS', 'PRINCIPAL_ALREADY_EXISTS', name);
        if (!known) neighbours.principals.set(name, { owner, isDeleted: false });
        return Principal.fromPartial({ name, owner });
      }),
      getPrincipal: call('getPrincipal', ({ name = '' }) => {
        const known = neighbours.principals.get(name);
        if (!known) throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', name);
        const state = known.isDeleted ? 'DELETED' : 'ACTIVE';
        return Principal.fromPartial({
          ...{ name, owner: known.owner, tenant: 'tenants/main', type: 'MANAGED_IDENTITY', state },
        });
      }),
      deletePrincipal: call('deletePrincipal', ({ name = '' }) => {
        const known = neighbours.principals.get(name);
        if (!known) throw new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', name);
        known.isDeleted = true;
        return Principal.fromPartial({ name });
      }),
    },
  };
  return neighbours;
};
