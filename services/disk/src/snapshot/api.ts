import type {
  CreateSnapshotRequest,
  DeleteSnapshotRequest,
  GetSnapshotRequest,
  ListSnapshotsRequest,
  Snapshot as WireSnapshot,
} from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Category, type EventStore, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  names,
  pageToken,
  principalOf,
  requirePermission,
  subscriptionOf,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { checkLayers, diskClasses } from '../disk/classes.ts';
import { existing as existingDisk } from '../disk/decider.ts';
import { type Encryption, encryptionFromWire, sameEncryption, setOf, skuOnWire } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import { listKept, pageOfRequest } from '../disk/listing.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Turns } from '../disk/turns.ts';
import { diskNotFound } from '../disk/wire.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { KeyAccess } from '../host/keys/key-access.ts';
import type { Leases } from '../host/keys/leases.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { Settling } from '../reconcile/settling.ts';
import type { SnapshotCreation } from './creation.ts';
import { gone, remove, type Snapshot } from './decider.ts';
import type { SnapshotEvent } from './events.ts';
import { keyOf, snapshotNotFound, snapshotOnWire } from './wire.ts';

/** How many incremental snapshots a disk may have. */
export interface SnapshotLimits {
  /** In all. */
  readonly perDiskMax: number;
  /** Within `recentMs`. */
  readonly recentMax: number;
  readonly recentMs: number;
}

/** Snapshots: request in, resource out. */
export const snapshotApi = (parts: {
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly creation: SnapshotCreation;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly leases: Pick<Leases, 'outageOf'>;
  readonly volumes: Volumes;
  readonly store: EventStore;
  readonly stored: Pick<StoredHeaders, 'remove'>;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly authorize: Authorizer;
  readonly clock: Clock;
  readonly limits: SnapshotLimits;
}) => {
  const { disks, snapshots, creation, keyAccess, leases, volumes, store, stored } = parts;
  const { turns, settling, authorize, clock, limits } = parts;

  const show = async (loaded: Loaded<Snapshot>): Promise<WireSnapshot> => {
    const { state } = loaded;
    const key = keyOf(state);
    return snapshotOnWire(loaded, {
      loss: key && (keyAccess.lossOf(key) ?? leases.outageOf(key)),
      allocatedBytes: 'volume' in state ? await volumes.allocatedBytes(state.volume.volumeId) : 0,
    });
  };
  const named = (name: string): string => {
    names.snapshot.parse(name, 'name');
    return name;
  };

  /** By disk: incremental snapshots that were let in and may not be on record yet. */
  const letIn = new Map<string, Set<string>>();

  /**
   * Rule CMK-142: also of those that are asked for at once, and of those in the making. A repeat of a request that was carried
   * out is not counted against it.
   */
  const withinLimits = async <Result>(
    name: string,
    { uniqueId }: ActiveDisk,
    take: () => Promise<Result>,
  ): Promise<Result> => {
    const all = await snapshots.listAll({ index: { index: 'source_unique_id', value: uniqueId } });
    if (all.some(({ id }) => id === name)) return take();
    const known = all.filter(({ state }) => state.status !== 'absent' && state.incremental);
    const since = clock.now() - limits.recentMs;
    const recent = known.filter(({ state }) => !('createdAt' in state) || state.createdAt > since);
    const begun = letIn.get(uniqueId) ?? new Set();
    const unknownCount = [...begun].filter((id) => id !== name && !all.some((one) => one.id === id)).length;
    const [count, recentCount] = [known.length + unknownCount, recent.length + unknownCount];
    const { perDiskMax, recentMax, recentMs } = limits;
    if (count >= perDiskMax || recentCount >= recentMax) {
      throw new Rejection(
        'RESOURCE_EXHAUSTED',
        'TOO_MANY_SNAPSHOTS',
        `a disk can have ${perDiskMax} incremental snapshots, and ${recentMax} of them within ${recentMs} ms; it has ${count} and ${recentCount}`,
        {
          count: String(count),
          count_max: String(perDiskMax),
          recent_count: String(recentCount),
          recent_max: String(recentMax),
        },
      );
    }
    letIn.set(uniqueId, begun.add(name));
    try {
      return await take();
    } finally {
      begun.delete(name);
      if (begun.size === 0) letIn.delete(uniqueId);
    }
  };

  return {
    async createSnapshot(request: CreateSnapshotRequest, call: Call): Promise<WireSnapshot> {
      const { subscription, resourceGroup } = names.resourceGroup.parse(request.parent, 'parent');
      const snapshot = checkId(request.snapshotId, 'snapshot', 'snapshot_id');
      const name = names.snapshot.format({ subscription, resourceGroup, snapshot });
      const { sourceDisk, incremental } = request;
      names.disk.parse(sourceDisk, 'source_disk');
      if (subscriptionOf(sourceDisk) !== subscriptionOf(name)) {
        throw invalid('SUBSCRIPTION_MISMATCH', 'source_disk', `${sourceDisk} is in another subscription than ${name}`);
      }
      // Whoever keeps a copy of a disk can read all of it later: more than a reader may.
      await requirePermission(authorize, principalOf(call), 'compute/disks/beginAccess', sourceDisk);
      const { state } = await disks.load(sourceDisk);
      const before = await snapshots.load(name);
      // A repeat finds the snapshot also when its disk is gone by now.
      if (before.state.status === 'active' && state.status === 'absent') {
        if (before.state.sourceDisk === sourceDisk && before.state.incremental === incremental) return show(before);
      }
      if (state.status === 'absent') throw diskNotFound(sourceDisk);
      const disk = existingDisk(state);
      const encryption = wishedEncryption(request, name, disk);
      const set = setOf(encryption);
      if (set !== '') await requirePermission(authorize, principalOf(call), 'compute/diskEncryptionSets/read', set);
      const { location, sizeGib, uniqueId: sourceUniqueId } = disk;
      const wish = JSON.stringify({ sourceDisk, sourceUniqueId, incremental, asked: request.encryption ?? null });
      const spec = { location, sourceDisk, sourceUniqueId, incremental, sizeGib, encryption };
      const take = () => creation.create(name, wish, spec, call.cause);
      return show(await (incremental ? withinLimits(name, disk, take) : take()));
    },
    async getSnapshot({ name }: GetSnapshotRequest): Promise<WireSnapshot> {
      return show(await snapshots.load(named(name)));
    },
    async listSnapshots(request: ListSnapshotsRequest) {
      const { parent, sourceDisk, diskEncryptionSet: set } = request;
      if (parent === '' && sourceDisk === '' && set === '') {
        throw invalid(
          'FIELD_MISSING',
          'parent',
          'parent is missing: a subscription or resource group, or another filter in its place',
        );
      }
      if (parent !== '')
        (parent.includes('/resourceGroups/') ? names.resourceGroup : names.subscription).parse(parent, 'parent');
      if (sourceDisk !== '') names.disk.parse(sourceDisk, 'source_disk');
      if (set !== '') names.diskEncryptionSet.parse(set, 'disk_encryption_set');
      const index = sourceDisk === '' ? { index: 'set', value: set } : { index: 'source_disk', value: sourceDisk };
      const query = {
        ...pageOfRequest(request),
        ...(sourceDisk === '' && set === '' ? {} : { index }),
        ...(parent === '' ? {} : { prefix: `${parent}/` }),
      };
      const { items, next } = await listKept(
        snapshots,
        query,
        ({ state }) => set === '' || (state.status !== 'absent' && setOf(state.encryption) === set),
      );
      return { snapshots: await Promise.all(items.map(show)), nextPageToken: pageToken(next) };
    },
    async deleteSnapshot({ name, etag }: DeleteSnapshotRequest, { cause }: Call) {
      await turns(named(name), async () => {
        const { state, version } = await snapshots.load(name);
        if (version === 0) throw snapshotNotFound(name);
        if (state.status === 'absent') return;
        if (state.status === 'creating') {
          // Nobody takes it any more, for this is its turn: what is left of one that failed needs no more than its undoing.
          await snapshots.transact(name, () => [], cause, expectedVersion(etag));
          await creation.undo(name, 'DELETED', cause);
          return;
        }
        const finish = async (): Promise<void> => {
          const { state: left } = await snapshots.load(name);
          if (left.status !== 'deleting') return;
          await volumes.remove(left.volume.volumeId);
          const rows = [stored.remove(left.volume.volumeId)];
          await transactGuarded(store, snapshots, name, gone(clock.now()), cause, { rows });
        };
        await snapshots.transact(name, remove(clock.now()), cause, expectedVersion(etag)).catch((error: unknown) => {
          // Not answered, and announced perhaps.
          if (error instanceof StoreUnavailable) settling.later(name, finish);
          throw error;
        });
        await finish().catch((error: unknown) => {
          // It is announced, so it comes to an end without being asked for again.
          settling.later(name, finish);
          throw error;
        });
      });
      return {};
    },
  };
};

/** Where a list of snapshots needs the permission: at its parent, else where its other filter lies. */
export const scopeOfList = ({
  parent,
  sourceDisk,
  diskEncryptionSet,
}: Pick<ListSnapshotsRequest, 'parent' | 'sourceDisk' | 'diskEncryptionSet'>): string => {
  const filter = sourceDisk || diskEncryptionSet;
  return parent || (filter === '' ? '/' : subscriptionOf(filter));
};

/**
 * What the request says, else what the disk has (CMK-58).
 * @throws Rejection INVALID_ARGUMENT SNAPSHOT_TYPE_NOT_SUPPORTED (CMK-61), INCREMENTAL_SNAPSHOT_SET_MISMATCH (CMK-56)
 */
const wishedEncryption = (
  { encryption: asked, incremental }: CreateSnapshotRequest,
  name: string,
  disk: ActiveDisk,
): Encryption => {
  if (!incremental && !diskClasses[disk.sku].canSnapshotFully) {
    throw invalid(
      'SNAPSHOT_TYPE_NOT_SUPPORTED',
      'incremental',
      `incremental must be true: a ${skuOnWire[disk.sku]} disk has incremental snapshots only`,
    );
  }
  const encryption = asked ? encryptionFromWire(asked, name) : disk.encryption;
  if (encryption.type !== 'platform') names.diskEncryptionSet.parse(encryption.set, 'encryption.disk_encryption_set');
  checkLayers(disk.sku, encryption);
  if (!incremental || sameEncryption(encryption, disk.encryption)) return encryption;
  throw invalid(
    'INCREMENTAL_SNAPSHOT_SET_MISMATCH',
    'encryption',
    'an incremental snapshot is encrypted as its disk is: leave encryption out, or take a full snapshot',
  );
};

const invalid = (reason: string, field: string, message: string): Rejection =>
  new Rejection('INVALID_ARGUMENT', reason, message, { field });
