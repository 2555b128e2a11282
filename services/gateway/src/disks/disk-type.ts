import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { CallOptions } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { encryptionOf, isEncryptedAs } from '../cloud/encryption.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import { refuseMove, requireLocation } from '../management/arm.ts';
import { extrasFor, type ResourceRecords } from '../management/resource-records.ts';
import { longCallMs, readUntil } from '../operations/wait.ts';
import type { PageQuery, ServiceCalls, ServicePage, ServiceType } from '../resource-types/service-type.ts';
import { creationOf, DiskBody, type DiskGiven, diskBody, keptContent, refuseOtherCreation } from './disk-body.ts';
import { skuOf } from './skus.ts';

/** What disks need. */
export interface DiskParts {
  readonly backends: Pick<Backends, 'disks' | 'sets'>;
  readonly names: CloudNames;
  readonly resourceRecords: ResourceRecords;
  readonly clock: Clock;
}

/** Disks. */
export const diskType = (parts: DiskParts): ServiceType<Disk, DiskGiven> => ({
  collection: 'disks',
  service: 'disk',
  family: 'DiskOperations',
  does: {
    put: 'Creates or updates a disk; an image is made empty',
    patch: 'Updates a disk: size, encryption, tags',
    get: 'Reads a disk',
    delete: 'Deletes a disk and its data',
    list: 'disks',
  },
  body: DiskBody,
  calls: new DiskCalls(parts),
  incarnationOf: ({ uniqueId }) => uniqueId,
  namedBy: ({ managedBy, source, encryption }) => [managedBy, source, encryption?.diskEncryptionSet ?? ''],
  kept: keptContent,
  shown: diskBody,
});

class DiskCalls implements ServiceCalls<Disk, DiskGiven> {
  readonly #parts: DiskParts;

  constructor(parts: DiskParts) {
    this.#parts = parts;
  }

  get(name: string, options: CallOptions): Promise<Disk> {
    return this.#parts.backends.disks.getDisk({ name }, options);
  }

  delete(name: string, options: CallOptions): Promise<unknown> {
    return this.#parts.backends.disks.deleteDisk({ name }, options);
  }

  async list(page: PageQuery, options: CallOptions): Promise<ServicePage<Disk>> {
    const found = await this.#parts.backends.disks.listDisks(page, options);
    return { found: found.disks, next: found.nextPageToken };
  }

  /** Creates a disk: empty, or a copy. */
  async create(path: NamedPath, body: DiskGiven, caller: Caller): Promise<Disk> {
    const { backends, names } = this.#parts;
    const { source, sizeGib } = creationOf(names, body);
    const encryption = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    const { name } = await backends.disks.createDisk(
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
    return this.#settled(name, caller);
  }

  /** Changes what the body has and the disk has not; what is absent stays. */
  async update(disk: Disk, body: DiskGiven, caller: Caller): Promise<Disk> {
    const { backends, resourceRecords } = this.#parts;
    const { name } = disk;
    refuseMove(body.location, disk.location, name);
    refuseOtherCreation(await extrasFor(resourceRecords, { name, incarnation: disk.uniqueId }), body);
    const encryption = await encryptionOf(this.#parts, body.properties?.encryption, caller);
    const options = { ...caller.as('disk'), deadlineMs: longCallMs };
    const sku = body.sku?.name === undefined ? disk.sku : skuOf(body.sku.name, 'sku.name');
    if (sku !== disk.sku) await backends.disks.changeDiskSku({ name, sku }, options);
    const sizeGib = body.properties?.diskSizeGB;
    if (sizeGib !== undefined && sizeGib !== disk.sizeGib) await backends.disks.growDisk({ name, sizeGib }, options);
    if (encryption !== undefined && !isEncryptedAs(disk.encryption, encryption))
      await backends.disks.changeDiskEncryption({ name, encryption }, options);
    return this.#settled(name, caller);
  }

  /** Waits until nothing is being done to the disk. */
  #settled(name: string, caller: Caller): Promise<Disk> {
    return readUntil(
      this.#parts.clock,
      () => this.get(name, caller.as('disk')),
      ({ provisioningState }) => provisioningState === 'SUCCEEDED' || provisioningState === 'FAILED',
    );
  }
}
