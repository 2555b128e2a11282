import type {
  ChangeDiskEncryptionRequest,
  CreateDiskRequest,
  DeleteDiskRequest,
  GetDiskRequest,
  GrowDiskRequest,
  ListDisksRequest,
  Disk as WireDisk,
} from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import {
  type Category,
  type Cause,
  type EventStore,
  type Loaded,
  Rejection,
  StoreUnavailable,
} from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  isSameRegion,
  names,
  pageToken,
  principalOf,
  requirePermission,
  subscriptionOf,
} from '@interlock/rpc';
import { type Clock, DomainAttribute } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import type { Sessions } from '../host/data/sessions.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { DekHolder } from '../host/keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../host/keys/key-access.ts';
import type { LossFacts } from '../host/keys/key-reasons.ts';
import type { Leases } from '../host/keys/leases.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import { type EncryptionChange, refuseWhileChanging } from '../moves/encryption-change.ts';
import type { Settling } from '../reconcile/settling.ts';
import { existing as existingSnapshot, type Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import { checkLayers, checkSize } from './classes.ts';
import type { DiskCreation } from './creation.ts';
import { existing, gone, remove } from './decider.ts';
import { type Encryption, encryptionFromWire, setOf, skuFromWire } from './encryption.ts';
import type { DiskEvent } from './events.ts';
import type { DiskGrowth } from './growth.ts';
import { transactGuarded } from './guarded-commit.ts';
import { listKept, pageOfRequest } from './listing.ts';
import { type Disk, volumesOf } from './state.ts';
import type { Turns } from './turns.ts';
import { diskNotFound, diskOnWire, keyOf } from './wire.ts';

/** Shows a disk with what is around it. */
export type ShowDisk = (loaded: Loaded<Disk>) => Promise<WireDisk>;

/** Makes what shows disks. */
export const showDisk =
  (
    parts: {
      readonly volumes: Volumes;
      readonly clock: Clock;
    } & ReachParts,
  ): ShowDisk =>
  async (loaded) => {
    const { volumes, clock } = parts;
    const { state } = loaded;
    return diskOnWire(loaded, {
      at: clock.now(),
      ...reachOf(loaded, parts),
      allocatedBytes: 'volume' in state ? await volumes.allocatedBytes(state.volume.volumeId) : 0,
    });
  };

/** What is known of the reach of disks' data. */
interface ReachParts {
  readonly keyAccess: Pick<KeyAccess, 'lossOf' | 'lossAfter' | 'isAnyLost'>;
  readonly leases: Pick<Leases, 'outageOf' | 'isAnyOut'>;
  readonly sessions: Pick<Sessions, 'isPinned'>;
}

/** What is between a disk and its data, and whether a running machine has it all the same. */
const reachOf = ({ id, state }: Loaded<Disk>, { keyAccess, leases, sessions }: ReachParts) => {
  const key = keyOf(state);
  return { loss: key && (lossFor(state, key, keyAccess) ?? leases.outageOf(key)), isPinned: sessions.isPinned(id) };
};

/** What keeps a disk from its data: for one that is open, only what came after that. */
const lossFor = (
  state: Disk,
  key: SetKeyVersion,
  keyAccess: Pick<KeyAccess, 'lossOf' | 'lossAfter'>,
): LossFacts | undefined =>
  state.status === 'active' && state.access !== null
    ? keyAccess.lossAfter(key, state.accessEpoch)
    : keyAccess.lossOf(key);

/** Disks as resources: request in, resource out. */
export const diskApi = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly creation: DiskCreation;
  readonly encryptionChange: EncryptionChange;
  readonly growth: DiskGrowth;
  readonly sessions: Sessions;
  readonly keyAccess: ReachParts['keyAccess'];
  readonly leases: ReachParts['leases'];
  readonly volumes: Volumes;
  readonly store: EventStore;
  readonly stored: Pick<StoredHeaders, 'remove'>;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly authorize: Authorizer;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
  readonly clock: Clock;
  readonly show: ShowDisk;
}) => {
  const { disks, snapshots, creation, encryptionChange, growth, sessions, keyAccess, leases } = parts;
  const { volumes, store, stored, turns, settling, authorize, subscriptions, clock, show } = parts;

  /** Compute acts for whoever it has asked about already; everybody else needs the role. */
  const permit = async (call: Call, action: string, scope: string): Promise<void> => {
    const principal = principalOf(call);
    if (principal.workload !== 'compute') await requirePermission(authorize, principal, action, scope);
  };

  /** Whoever puts something under a set must be allowed to see it (CMK-06); the key itself is for the set alone. */
  const permitUse = async (call: Call, encryption: Encryption): Promise<void> => {
    const set = setOf(encryption);
    if (set !== '') await permit(call, 'compute/diskEncryptionSets/read', set);
  };

  const named = (name: string): string => {
    names.disk.parse(name, 'name');
    trace.getActiveSpan()?.setAttribute(DomainAttribute.disk, name);
    return name;
  };

  /** Whoever copies a disk or snapshot reads all of it: more than a reader may. */
  const permitCopy = async ({ source }: CreateDiskRequest, call: Call): Promise<void> => {
    if (source === undefined) return;
    const isDisk = source.$case === 'sourceDisk';
    names[isDisk ? 'disk' : 'snapshot'].parse(source.value, isDisk ? 'source_disk' : 'source_snapshot');
    await permit(call, isDisk ? 'compute/disks/beginAccess' : 'compute/snapshots/beginAccess', source.value);
  };

  /** What a new disk is copied from, and how large and how encrypted that is. */
  const sourceOf = async ({
    source,
  }: CreateDiskRequest): Promise<
    { readonly holder: DekHolder; readonly sizeGib: number; readonly location: string } | undefined
  > => {
    if (source === undefined) return undefined;
    const name = source.value;
    const found =
      source.$case === 'sourceDisk'
        ? existing((await disks.load(name)).state)
        : existingSnapshot((await snapshots.load(name)).state);
    const { encryption, volume, sizeGib, location } = found;
    return { holder: { name, encryption, volume }, sizeGib, location };
  };

  const removeDisk = async (name: string, etag: string, cause: Cause): Promise<void> => {
    const { state, version } = await disks.load(name);
    if (version === 0) throw diskNotFound(name);
    if (state.status === 'absent') return;
    if (state.status === 'creating') {
      // Nobody makes it any more, for this is its turn: what is left of a creation that failed needs no more than its undoing.
      await disks.transact(name, () => [], cause, expectedVersion(etag));
      await creation.undo(name, 'DELETED', cause);
      return;
    }
    const finish = async (): Promise<void> => {
      const { state: left } = await disks.load(name);
      if (left.status !== 'deleting') return;
      sessions.end(name);
      for (const volumeId of volumesOf(left)) await volumes.remove(volumeId);
      const rows = volumesOf(left).map(stored.remove);
      await transactGuarded(store, disks, name, gone(clock.now()), cause, { rows });
    };
    await disks.transact(name, remove(clock.now()), cause, expectedVersion(etag)).catch((error: unknown) => {
      // Not answered, and announced perhaps.
      if (error instanceof StoreUnavailable) settling.later(name, finish);
      throw error;
    });
    await finish().catch((error: unknown) => {
      // It is announced, so it comes to an end without being asked for again.
      settling.later(name, finish);
      throw error;
    });
  };

  return {
    async createDisk(request: CreateDiskRequest, call: Call): Promise<WireDisk> {
      const { subscription, resourceGroup } = names.resourceGroup.parse(request.parent, 'parent');
      const disk = checkId(request.diskId, 'disk', 'disk_id');
      const name = named(names.disk.format({ subscription, resourceGroup, disk }));
      await permit(call, 'compute/disks/write', request.parent);
      // Compute has looked in the name of its own caller.
      if (principalOf(call).workload !== 'compute') await subscriptions.requireOwn(name, call);
      const sku = skuFromWire(request.sku);
      const { location } = request;
      if (location === '') throw missing('location', 'the region, for example westeurope');
      await permitCopy(request, call);
      const copyWish = copyWishOf(request);
      if (copyWish !== undefined) {
        const known = await disks.load(name);
        if (known.state.status === 'active' && known.state.wish === copyWish) return show(known);
      }
      const source = await sourceOf(request);
      const encryption = wishedEncryption(request, name, source?.holder.encryption);
      await permitUse(call, encryption);
      const sizeGib = request.sizeGib === 0 && source ? source.sizeGib : request.sizeGib;
      checkSize(sku, sizeGib);
      checkLayers(sku, encryption);
      if (source) refuseOtherPlace(name, location, sizeGib, source);
      const spec = { location, sku, sizeGib, encryption, source: source?.holder.name ?? '' };
      return show(await creation.create(name, copyWish ?? JSON.stringify(spec), spec, source?.holder, call.cause));
    },
    async getDisk({ name }: GetDiskRequest, call: Call): Promise<WireDisk> {
      await permit(call, 'compute/disks/read', named(name));
      return show(await disks.load(name));
    },
    async listDisks(request: ListDisksRequest, call: Call) {
      await permit(call, 'compute/disks/read', scopeOfList(request));
      const { parent, diskEncryptionSet: set, keyVersion } = request;
      if (parent === '' && set === '' && keyVersion === '') {
        throw missing('parent', 'a subscription or resource group, or another filter in its place');
      }
      if (parent !== '')
        (parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription).parse(parent, 'parent');
      if (set !== '') names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      if (keyVersion !== '') names.keyVersion.parse(keyVersion, 'key_version');
      // The losses of a set are few, its disks may be a hundred thousand.
      const isAllInReach = set !== '' && !keyAccess.isAnyLost(set) && !leases.isAnyOut(set);
      if (request.unavailableOnly && isAllInReach) return { disks: [], nextPageToken: '' };
      const isAsked = (loaded: Loaded<Disk>): boolean => {
        const { loss, isPinned } = reachOf(loaded, { keyAccess, leases, sessions });
        return !request.unavailableOnly || (loss !== undefined && !isPinned);
      };
      const index = keyVersion === '' ? { index: 'set', value: set } : { index: 'key_version', value: keyVersion };
      const query = {
        ...pageOfRequest(request),
        ...(set === '' && keyVersion === '' ? {} : { index }),
        ...(parent === '' ? {} : { prefix: `${parent}/` }),
      };
      const { items, next } = await listKept(disks, query, (loaded) => {
        const { state } = loaded;
        return (set === '' || (state.status !== 'absent' && setOf(state.encryption) === set)) && isAsked(loaded);
      });
      return { disks: await Promise.all(items.map(show)), nextPageToken: pageToken(next) };
    },
    async deleteDisk({ name, etag }: DeleteDiskRequest, call: Call) {
      await permit(call, 'compute/disks/delete', named(name));
      await turns(name, () => removeDisk(name, etag, call.cause));
      return {};
    },
    async changeDiskEncryption(request: ChangeDiskEncryptionRequest, call: Call): Promise<WireDisk> {
      const name = named(request.name);
      if (!request.encryption) throw missing('encryption', 'with whose keys the disk is to be encrypted');
      const encryption = encryptionFromWire(request.encryption, name);
      if (encryption.type !== 'platform')
        names.diskEncryptionSet.parse(encryption.set, 'encryption.disk_encryption_set');
      await permitUse(call, encryption);
      return show(await encryptionChange.change(name, encryption, call.cause, expectedVersion(request.etag)));
    },
    async growDisk(request: GrowDiskRequest, { cause }: Call): Promise<WireDisk> {
      const name = named(request.name);
      await refuseWhileChanging(parts, name);
      return show(await growth(name, request.sizeGib, cause, expectedVersion(request.etag)));
    },
  };
};

/** Where a list of disks needs the permission: at its parent, else at the subscription of the set, else everywhere. */
const scopeOfList = ({ parent, diskEncryptionSet }: Pick<ListDisksRequest, 'parent' | 'diskEncryptionSet'>): string =>
  parent || (diskEncryptionSet === '' ? '/' : subscriptionOf(diskEncryptionSet));

/** The wish for a copy as it was asked for: its source may be larger, elsewhere, or gone when it is asked for again. */
const copyWishOf = ({ source, location, sku, sizeGib, encryption }: CreateDiskRequest): string | undefined =>
  source && JSON.stringify({ location, sku, sizeGib, encryption: encryption ?? null, source: source.value });

/** What the request says, else what the source has, else the platform's key (CMK-17, CMK-58). */
const wishedEncryption = (
  { encryption }: CreateDiskRequest,
  name: string,
  ofSource: Encryption | undefined,
): Encryption => {
  if (!encryption) return ofSource ?? { type: 'platform' };
  const wished = encryptionFromWire(encryption, name);
  if (wished.type !== 'platform') names.diskEncryptionSet.parse(wished.set, 'encryption.disk_encryption_set');
  return wished;
};

/** @throws Rejection INVALID_ARGUMENT SUBSCRIPTION_MISMATCH, LOCATION_MISMATCH, DISK_SIZE_INVALID. Rules CMK-52, CMK-60. */
const refuseOtherPlace = (
  name: string,
  location: string,
  sizeGib: number,
  source: { readonly holder: DekHolder; readonly sizeGib: number; readonly location: string },
): void => {
  const refuse = (reason: string, field: string, message: string): Rejection =>
    new Rejection('INVALID_ARGUMENT', reason, message, { field, source: source.holder.name });
  if (subscriptionOf(name) !== subscriptionOf(source.holder.name)) {
    throw refuse(
      'SUBSCRIPTION_MISMATCH',
      'source',
      `the source ${source.holder.name} is in another subscription than ${name}`,
    );
  }
  if (!isSameRegion(location, source.location)) {
    throw refuse('LOCATION_MISMATCH', 'location', `location must be ${source.location}, the source's, not ${location}`);
  }
  if (sizeGib < source.sizeGib) {
    throw refuse(
      'DISK_SIZE_INVALID',
      'size_gib',
      `size_gib must not be below the source's ${source.sizeGib}, not ${sizeGib}`,
    );
  }
};

const missing = (field: string, what: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', 'FIELD_MISSING', `${field} is missing: ${what}`, { field });
