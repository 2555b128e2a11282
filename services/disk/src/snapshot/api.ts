import type {
  CreateSnapshotRequest,
  DeleteSnapshotRequest,
  Snapshot as WireSnapshot,
} from '@interlock/contracts/interlock/disk/v1/snapshot.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  checkId,
  names,
  principalOf,
  requirePermission,
  subscriptionOf,
} from '@interlock/rpc';
import { checkLayers, diskClasses } from '../disk/classes.ts';
import type { Control } from '../disk/control.ts';
import { existing as existingDisk } from '../disk/decider.ts';
import { type Encryption, encryptionFromWire, sameEncryption, setOf, skuOnWire } from '../disk/encryption.ts';
import type { ActiveDisk } from '../disk/state.ts';
import { diskNotFound } from '../disk/wire.ts';
import type { VolumeMoves } from '../moves/volume-moves.ts';
import { deleteSnapshot } from '../reconcile/deletion.ts';
import type { SnapshotCreation } from './creation.ts';
import type { Snapshot } from './decider.ts';
import { invalid, named, showSnapshot, showSnapshots, snapshotReads } from './reads.ts';

/** How many incremental snapshots a disk may have. */
export interface SnapshotLimits {
  /** In total. */
  readonly perDiskMax: number;
  /** Within `recentMs`. */
  readonly recentMax: number;
  readonly recentMs: number;
}

/** Snapshots: request in, resource out. */
export const snapshotApi = (
  control: Control,
  parts: {
    readonly creation: SnapshotCreation;
    readonly moves: Pick<VolumeMoves, 'reconcile'>;
    readonly authorize: Authorizer;
    readonly limits: SnapshotLimits;
  },
) => {
  const admission = new IncrementalAdmission(control, parts.limits);
  const show = (loaded: Loaded<Snapshot>) => showSnapshot(control, loaded);
  return {
    ...snapshotReads({
      snapshots: { ...control.snapshots, load: control.all.snapshots.load },
      show: (snapshots) => showSnapshots(control, snapshots),
    }),
    async createSnapshot(request: CreateSnapshotRequest, call: Call): Promise<WireSnapshot> {
      return show(await createSnapshot({ ...control, ...parts, admission }, request, call));
    },
    async deleteSnapshot(request: DeleteSnapshotRequest, { cause }: Call) {
      named(request.name);
      await deleteSnapshot(control, parts, request, cause);
      return {};
    },
  };
};

const createSnapshot = async (
  parts: Control & {
    readonly creation: SnapshotCreation;
    readonly authorize: Authorizer;
    readonly admission: IncrementalAdmission;
  },
  request: CreateSnapshotRequest,
  call: Call,
): Promise<Loaded<Snapshot>> => {
  const { disks, snapshots, creation, authorize, admission } = parts;
  const { subscription, resourceGroup } = names.resourceGroup.parse(request.parent, 'parent');
  const snapshot = checkId(request.snapshotId, 'snapshot', 'snapshot_id');
  const name = names.snapshot.format({ subscription, resourceGroup, snapshot });
  const { sourceDisk, incremental } = request;
  names.disk.parse(sourceDisk, 'source_disk');
  if (subscriptionOf(sourceDisk) !== subscriptionOf(name)) {
    throw invalid('SUBSCRIPTION_MISMATCH', 'source_disk', `${sourceDisk} is in another subscription than ${name}`);
  }
  // The owner of a copy can read all of it later: more than a reader of the disk may.
  await requirePermission(authorize, principalOf(call), 'compute/disks/beginAccess', sourceDisk);
  const { state } = await disks.load(sourceDisk);
  const before = await snapshots.load(name);
  // A repeat finds the snapshot also after its disk was deleted.
  if (before.state.status === 'active' && state.status === 'absent') {
    if (before.state.sourceDisk === sourceDisk && before.state.incremental === incremental) return before;
  }
  if (state.status === 'absent') throw diskNotFound(sourceDisk);
  const disk = existingDisk(state);
  const encryption = encryptionOf(request, name, disk);
  const set = setOf(encryption);
  if (set !== '') await requirePermission(authorize, principalOf(call), 'compute/diskEncryptionSets/read', set);
  const { location, sizeGib, uniqueId: sourceUniqueId } = disk;
  const canonical = JSON.stringify({ sourceDisk, sourceUniqueId, incremental, asked: request.encryption ?? null });
  const spec = { location, sourceDisk, sourceUniqueId, incremental, sizeGib, encryption };
  const create = () => creation.create(name, canonical, spec, call.cause);
  return incremental ? admission.within(name, disk, create) : create();
};

/** Admits incremental snapshots within the limits of a disk. Rule CMK-142: concurrent requests and those in the making count. */
class IncrementalAdmission {
  readonly #control: Pick<Control, 'snapshots' | 'clock'>;
  readonly #limits: SnapshotLimits;
  /** By disk: admitted snapshots that may not be recorded yet. */
  readonly #admitted = new Map<string, Set<string>>();

  constructor(control: Pick<Control, 'snapshots' | 'clock'>, limits: SnapshotLimits) {
    this.#control = control;
    this.#limits = limits;
  }

  /** Runs `create` within the limits. A repeat of a completed request is not counted against itself. */
  async within<Result>(name: string, { uniqueId }: ActiveDisk, create: () => Promise<Result>): Promise<Result> {
    const { snapshots } = this.#control;
    const all = await snapshots.listAll({ index: { index: 'source_unique_id', value: uniqueId } });
    if (all.some(({ id }) => id === name)) return create();
    const admitted = this.#admitted.get(uniqueId) ?? new Set();
    const unrecorded = [...admitted].filter((id) => id !== name && !all.some((one) => one.id === id)).length;
    this.#refuseTooMany(all, unrecorded);
    this.#admitted.set(uniqueId, admitted.add(name));
    try {
      return await create();
    } finally {
      admitted.delete(name);
      if (admitted.size === 0) this.#admitted.delete(uniqueId);
    }
  }

  #refuseTooMany(all: readonly Loaded<Snapshot>[], unrecorded: number): void {
    const { perDiskMax, recentMax, recentMs } = this.#limits;
    const known = all.filter(({ state }) => state.status !== 'absent' && state.incremental);
    const since = this.#control.clock.now() - recentMs;
    const recent = known.filter(({ state }) => !('createdAt' in state) || state.createdAt > since);
    const [count, recentCount] = [known.length + unrecorded, recent.length + unrecorded];
    if (count < perDiskMax && recentCount < recentMax) return;
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
}

/**
 * The encryption of the request, else that of the disk (CMK-58).
 * @throws Rejection INVALID_ARGUMENT SNAPSHOT_TYPE_NOT_SUPPORTED (CMK-61), INCREMENTAL_SNAPSHOT_SET_MISMATCH (CMK-56)
 */
const encryptionOf = (
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
