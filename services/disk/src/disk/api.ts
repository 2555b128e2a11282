import type {
  ChangeDiskEncryptionRequest,
  ChangeDiskSkuRequest,
  CreateDiskRequest,
  DeleteDiskRequest,
  GrowDiskRequest,
  Disk as WireDisk,
} from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { Subscriptions } from '@interlock/host';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  isSameRegion,
  names,
  principalOf,
  subscriptionOf,
} from '@interlock/rpc';
import { refuseMoving } from '../fleet/moving.ts';
import type { DekHolder } from '../host/disk-host.ts';
import { type EncryptionChange, refuseWhileChanging } from '../moves/encryption-change.ts';
import type { VolumeMoves } from '../moves/volume-moves.ts';
import { deleteDisk } from '../reconcile/deletion.ts';
import { existing as existingSnapshot } from '../snapshot/decider.ts';
import { checkLayers, checkSize } from './classes.ts';
import type { Control } from './control.ts';
import type { DiskCreation } from './creation.ts';
import { changeSku, existing } from './decider.ts';
import { type Encryption, encryptionFromWire, setOf, skuFromWire } from './encryption.ts';
import { growDisk } from './growth.ts';
import { nearOf } from './near.ts';
import { diskReads, missing, named, permit, showDisk, showDisks } from './reads.ts';
import type { Disk } from './state.ts';

/** What the API of disks needs besides the control side. */
interface DiskApiParts {
  readonly creation: DiskCreation;
  readonly encryptionChange: EncryptionChange;
  readonly moves: Pick<VolumeMoves, 'reconcile'>;
  readonly authorize: Authorizer;
  readonly subscriptions: Pick<Subscriptions, 'requireOwn'>;
}

/** Disks as resources: request in, resource out. */
export const diskApi = (control: Control, parts: DiskApiParts) => {
  const show = (loaded: Loaded<Disk>) => showDisk(control, loaded);
  return {
    ...diskReads({
      disks: { ...control.disks, load: control.all.disks.load },
      availability: control.availability,
      host: control.host,
      show: (disks) => showDisks(control, disks),
      authorize: parts.authorize,
    }),
    async createDisk(request: CreateDiskRequest, call: Call): Promise<WireDisk> {
      return show(await createDisk({ ...control, ...parts }, request, call));
    },
    async deleteDisk(request: DeleteDiskRequest, call: Call) {
      await permit(parts, call, 'compute/disks/delete', named(request.name));
      await deleteDisk(control, parts, request, call.cause);
      return {};
    },
    async changeDiskEncryption(request: ChangeDiskEncryptionRequest, call: Call): Promise<WireDisk> {
      const name = named(request.name);
      if (!request.encryption) throw missing('encryption', 'whose keys the disk is to be encrypted with');
      const encryption = encryptionFromWire(request.encryption, name);
      parseSet(encryption);
      await permitUse(parts, call, encryption);
      return show(await parts.encryptionChange.change(name, encryption, call.cause, expectedVersion(request.etag)));
    },
    async growDisk(request: GrowDiskRequest, { cause }: Call): Promise<WireDisk> {
      const name = named(request.name);
      await refuseWhileChanging(control, name);
      return show(await growDisk(control, name, request.sizeGib, cause, expectedVersion(request.etag)));
    },
    async changeDiskSku(request: ChangeDiskSkuRequest, { cause }: Call): Promise<WireDisk> {
      const name = named(request.name);
      const sku = skuFromWire(request.sku);
      await refuseWhileChanging(control, name);
      const decide = (disk: Disk) => changeSku(control.clock.now(), sku)(disk);
      return show(await control.disks.transact(name, decide, cause, expectedVersion(request.etag)));
    },
  };
};

const parseSet = (encryption: Encryption): void => {
  if (encryption.type !== 'platform') names.diskEncryptionSet.parse(encryption.set, 'encryption.disk_encryption_set');
};

/** A caller that puts a resource under a set must be allowed to see the set (CMK-06); only the set uses the key. */
const permitUse = async (parts: Pick<DiskApiParts, 'authorize'>, call: Call, encryption: Encryption): Promise<void> => {
  const set = setOf(encryption);
  if (set !== '') await permit(parts, call, 'compute/diskEncryptionSets/read', set);
};

/** A copy of a disk or snapshot contains all of it: it needs more than the right of a reader. */
const permitCopy = async (
  parts: Pick<DiskApiParts, 'authorize'>,
  { source }: CreateDiskRequest,
  call: Call,
): Promise<void> => {
  if (source === undefined) return;
  const isDisk = source.$case === 'sourceDisk';
  names[isDisk ? 'disk' : 'snapshot'].parse(source.value, isDisk ? 'source_disk' : 'source_snapshot');
  await permit(parts, call, isDisk ? 'compute/disks/beginAccess' : 'compute/snapshots/beginAccess', source.value);
};

/** The source of a copy, as far as the copy depends on it. */
interface CopySource {
  readonly holder: DekHolder;
  readonly sizeGib: number;
  readonly location: string;
}

const sourceOf = async (
  { disks, snapshots }: Control,
  { source }: CreateDiskRequest,
): Promise<CopySource | undefined> => {
  if (source === undefined) return undefined;
  const name = source.value;
  const found =
    source.$case === 'sourceDisk'
      ? existing((await disks.load(name)).state)
      : existingSnapshot((await snapshots.load(name)).state);
  refuseMoving(found);
  const { encryption, volume, sizeGib, location } = found;
  return { holder: { name, encryption, volume }, sizeGib, location };
};

const createDisk = async (
  parts: Control & DiskApiParts,
  request: CreateDiskRequest,
  call: Call,
): Promise<Loaded<Disk>> => {
  const { subscription, resourceGroup } = names.resourceGroup.parse(request.parent, 'parent');
  const disk = checkId(request.diskId, 'disk', 'disk_id');
  const name = named(names.disk.format({ subscription, resourceGroup, disk }));
  await permit(parts, call, 'compute/disks/write', request.parent);
  // Compute has checked the subscription for its own caller.
  if (principalOf(call).workload !== 'compute') await parts.subscriptions.requireOwn(name, call);
  nearOf(request);
  const sku = skuFromWire(request.sku);
  const { location } = request;
  if (location === '') throw missing('location', 'the region, for example westeurope');
  await permitCopy(parts, request, call);
  const copyRequest = copyRequestOf(request);
  if (copyRequest !== undefined) {
    const known = await parts.disks.load(name);
    if (known.state.status === 'active' && known.state.request === copyRequest) return known;
  }
  const source = await sourceOf(parts, request);
  const encryption = encryptionOf(request, name, source?.holder.encryption);
  await permitUse(parts, call, encryption);
  const sizeGib = request.sizeGib === 0 && source ? source.sizeGib : request.sizeGib;
  checkSize(sku, sizeGib);
  checkLayers(sku, encryption);
  if (source) refuseOtherPlace(name, location, sizeGib, source);
  const spec = { location, sku, sizeGib, encryption, source: source?.holder.name ?? '' };
  return parts.creation.create(name, copyRequest ?? JSON.stringify(spec), spec, source?.holder, call.cause);
};

/** The request for a copy in canonical form: at a repeat its source may be larger, in another place, or deleted. */
const copyRequestOf = ({ source, location, sku, sizeGib, encryption }: CreateDiskRequest): string | undefined =>
  source && JSON.stringify({ location, sku, sizeGib, encryption: encryption ?? null, source: source.value });

/** The encryption of the request, else that of the source, else a platform key (CMK-17, CMK-58). */
const encryptionOf = (
  { encryption }: CreateDiskRequest,
  name: string,
  ofSource: Encryption | undefined,
): Encryption => {
  if (!encryption) return ofSource ?? { type: 'platform' };
  const requested = encryptionFromWire(encryption, name);
  parseSet(requested);
  return requested;
};

/** @throws Rejection INVALID_ARGUMENT SUBSCRIPTION_MISMATCH, LOCATION_MISMATCH, DISK_SIZE_INVALID. Rules CMK-52, CMK-60. */
const refuseOtherPlace = (name: string, location: string, sizeGib: number, source: CopySource): void => {
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
    throw refuse(
      'LOCATION_MISMATCH',
      'location',
      `location must be ${source.location}, the region of the source (got ${location})`,
    );
  }
  if (sizeGib < source.sizeGib) {
    throw refuse(
      'DISK_SIZE_INVALID',
      'size_gib',
      `size_gib must be at least ${source.sizeGib}, the size of the source (got ${sizeGib})`,
    );
  }
};
