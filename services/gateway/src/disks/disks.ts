import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { JsonObject } from '@interlock/event-store';
import type { CallOptions } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionOf, isEncryptedAs } from '../cloud/encryption.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { armTypes, innerName, type NamedPath } from '../cloud/resource-names.ts';
import { refuseMove, requireLocation, resourceNotFound } from '../management/arm.ts';
import { extrasFor, type ResourceRecords } from '../management/resource-records.ts';
import { longCallMs, readUntil } from '../operations/wait.ts';
import { creationOf, type DiskGiven, diskBody, keptContent, refuseOtherCreation } from './disk-body.ts';
import { skuOf } from './skus.ts';

/** What disks need. */
export interface DiskParts {
  readonly backends: Pick<Backends, 'disks' | 'sets'>;
  readonly names: CloudNames;
  readonly resourceRecords: ResourceRecords;
  readonly clock: Clock;
}

/** Disks found by their ARM path, and changed to what a body describes. */
export class Disks {
  readonly #parts: DiskParts;

  constructor(parts: DiskParts) {
    this.#parts = parts;
  }

  /** Interlock name. */
  nameOf(path: NamedPath): string {
    return innerName(this.#parts.names, path, 'disks');
  }

  /** @returns undefined for a disk that does not exist */
  async find(path: NamedPath, caller: Caller): Promise<Disk | undefined> {
    return this.#read(this.nameOf(path), caller.as('disk'));
  }

  /** @throws RestError 404 */
  async get(path: NamedPath, caller: Caller): Promise<Disk> {
    const found = await this.find(path, caller);
    if (found !== undefined) return found;
    throw resourceNotFound(path, armTypes.disks, path.name);
  }

  /** Creates a disk: empty, or a copy. */
  async create(path: NamedPath, body: DiskGiven, caller: Caller): Promise<Disk> {
    const { backends, names } = this.#parts;
    const { source, sizeGib } = creationOf(names, body);
    const encryption = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    return backends.disks.createDisk(
      {
        parent: groupName(names, path.subscription, path.group),
        diskId: path.name.toLowerCase(),
        location: requireLocation(body.location),
        sku: skuOf(body.sku?.name ?? 'Standard_LRS', 'sku.name'),
        sizeGib,
        ...(encryption === undefined ? {} : { encryption }),
        ...(source === undefined ? {} : { source }),
      },
      { ...caller.as('disk'), deadlineMs: longCallMs },
    );
  }

  /** Changes what the body has and the disk has not; what is absent stays. */
  async update(disk: Disk, body: DiskGiven, caller: Caller): Promise<Disk> {
    const { backends, resourceRecords } = this.#parts;
    const { name } = disk;
    refuseMove(body.location, disk.location, name);
    refuseOtherCreation(await extrasFor(resourceRecords, incarnationOf(disk)), body);
    const encryption = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    const options = { ...caller.as('disk'), deadlineMs: longCallMs };
    let changed = disk;
    const sku = body.sku?.name === undefined ? disk.sku : skuOf(body.sku.name, 'sku.name');
    if (sku !== disk.sku) changed = await backends.disks.changeDiskSku({ name, sku }, options);
    const sizeGib = body.properties?.diskSizeGB;
    if (sizeGib !== undefined && sizeGib !== disk.sizeGib)
      changed = await backends.disks.growDisk({ name, sizeGib }, options);
    if (encryption !== undefined && !isEncryptedAs(disk.encryption, encryption))
      changed = await backends.disks.changeDiskEncryption({ name, encryption }, options);
    return changed;
  }

  /** Waits until nothing is being done to the disk. */
  async settled({ name }: Disk, caller: Caller): Promise<Disk> {
    const { backends, clock } = this.#parts;
    const options = caller.as('disk');
    return readUntil(
      clock,
      () => backends.disks.getDisk({ name }, options),
      ({ provisioningState }) => provisioningState === 'SUCCEEDED' || provisioningState === 'FAILED',
    );
  }

  /** Deletes the disk and its data. */
  async delete({ name }: Disk, caller: Caller): Promise<void> {
    const { backends, resourceRecords, clock } = this.#parts;
    const options = caller.as('disk');
    await backends.disks.deleteDisk({ name }, options);
    await readUntil(
      clock,
      () => this.#read(name, options),
      (found) => found === undefined,
    );
    await resourceRecords.forget(name, caller);
  }

  /** The disk as clients read it, after its tags and what else only management has are stored. */
  async shown(disk: Disk, path: NamedPath, caller: Caller, body: DiskGiven): Promise<unknown> {
    const before = await extrasFor(this.#parts.resourceRecords, incarnationOf(disk));
    const content = keptContent(before.content, body);
    return this.#keep(disk, path, { tags: body.tags ?? before.tags, content }, caller);
  }

  /** Notes that a disk for an upload has its content. */
  async noteUploaded(disk: Disk, path: NamedPath, caller: Caller): Promise<void> {
    const before = await extrasFor(this.#parts.resourceRecords, incarnationOf(disk));
    await this.#keep(disk, path, { tags: before.tags, content: { ...before.content, uploaded: true } }, caller);
  }

  /** Disks as clients read them. */
  async allShown(disks: readonly Disk[]): Promise<readonly unknown[]> {
    const { resourceRecords } = this.#parts;
    const extras = await resourceRecords.find(disks.map(incarnationOf));
    const idOf = await resourceRecords.idsOf(disks.flatMap(namedBy));
    return disks.map((disk, n) => diskBody(disk, extras[n] as (typeof extras)[number], idOf));
  }

  async #keep(
    disk: Disk,
    path: NamedPath,
    extras: { readonly tags: JsonObject; readonly content: JsonObject },
    caller: Caller,
  ): Promise<unknown> {
    const { resourceRecords } = this.#parts;
    const kept = await resourceRecords.put(incarnationOf(disk), path, extras, caller);
    return diskBody(disk, kept, await resourceRecords.idsOf(namedBy(disk)));
  }

  async #read(name: string, options: CallOptions): Promise<Disk | undefined> {
    return ifFound(this.#parts.backends.disks.getDisk({ name }, options));
  }
}

const incarnationOf = ({ name, uniqueId }: Disk) => ({ name, incarnation: uniqueId });

/** Interlock names of the resources that a disk names. */
const namedBy = ({ managedBy, source, encryption }: Disk): readonly string[] => [
  managedBy,
  source,
  encryption?.diskEncryptionSet ?? '',
];
