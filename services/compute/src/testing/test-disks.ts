import { type AccessReason, statusOf } from '@interlock/access';
import { type Disk, Disk as DiskMessage } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import type { Sku } from '../vm/machine.ts';

export const location = 'westeurope';

/** A disk of the fake service. */
export interface FakeDisk {
  sku: Sku;
  set: string;
  keyVersion: string;
  managedBy: string;
  /** ATTACHED, RESERVED or UNATTACHED. */
  state: Disk['state'];
  isOpen: boolean;
  /** Being created: its holder and creation time are not shown yet. */
  isCreating: boolean;
  attachEpoch: number;
  /** Ids of attach requests that had an effect, and of those that were given up. */
  readonly attachRequests: string[];
  readonly attachesGivenUp: string[];
  /** Version of its stream; rises with every change of its key. */
  version: number;
  /** `diskHosts/{disk_host}`; '' as of a release without disk hosts. */
  diskHost: string;
  availability: Disk['availability'];
  unavailableReason: AccessReason | undefined;
  createdAt: number;
  /** A later disk of the same name has another. */
  uniqueId: string;
}

/** The disks of the fake service and the keys of its vault. A test reads and changes them at any time. */
export class FakeDisks {
  readonly disks = new Map<string, FakeDisk>();
  /** By set, the identity that unwraps its disks; empty for a set without an entry. */
  readonly identities = new Map<string, string>();
  /** Number of the last change of a key at the vault. */
  accessEpoch = 100;
  /** Why a key version cannot be used, by `<set> <key version>`. */
  readonly #lost = new Map<string, AccessReason>();
  readonly #now: () => number;
  #created = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Creates a disk. @returns its name */
  add(name: string, about: { sku?: Sku; set?: string; keyVersion?: string }): string {
    const { sku = 'PREMIUM_SSD', set = '', keyVersion = '' } = about;
    this.#created += 1;
    this.disks.set(name, {
      uniqueId: String(this.#created),
      ...{ sku, set, keyVersion },
      managedBy: '',
      state: 'UNATTACHED',
      isOpen: false,
      isCreating: false,
      attachEpoch: 0,
      attachRequests: [],
      attachesGivenUp: [],
      version: 1,
      diskHost: '',
      availability: 'AVAILABLE',
      unavailableReason: undefined,
      createdAt: this.#now(),
    });
    return name;
  }

  /** @throws Rejection DISK_NOT_FOUND */
  find(name: string): FakeDisk {
    const disk = this.disks.get(name);
    if (disk) return disk;
    throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', `name: ${name} does not exist`, { name });
  }

  /** Takes a key version from a set. @returns the number of the loss */
  lose(set: string, keyVersion: string, reason: AccessReason = 'KEY_DISABLED'): number {
    this.#lost.set(`${set} ${keyVersion}`, reason);
    return ++this.accessEpoch;
  }

  /** Gives it back. @returns the number at which the vault grants access again */
  restore(set: string, keyVersion: string): number {
    this.#lost.delete(`${set} ${keyVersion}`);
    return ++this.accessEpoch;
  }

  /** Sets what the host shows of the disks under a version: no data for that reason, or data again. */
  show(set: string, keyVersion: string, reason: AccessReason | undefined): void {
    for (const disk of this.disks.values()) {
      if (disk.set !== set || disk.keyVersion !== keyVersion) continue;
      disk.availability = reason === undefined ? 'AVAILABLE' : 'UNAVAILABLE';
      disk.unavailableReason = reason;
    }
  }

  /** @throws Rejection with the reason for which the key of a disk cannot be used */
  requireKey(name: string): void {
    const { set, keyVersion } = this.find(name);
    const reason = this.#lost.get(`${set} ${keyVersion}`);
    if (reason === undefined) return;
    throw new Rejection(statusOf(reason), reason, 'the key cannot be used', {
      disk: name,
      disk_encryption_set: set,
      key_version: keyVersion,
      since: '2026-01-01T00:00:00.000Z',
      trace_id: 'ab'.repeat(16),
    });
  }

  /** A disk as the service shows it. @throws Rejection DISK_NOT_FOUND */
  onWire(name: string): Disk {
    const { sku, set, keyVersion, attachEpoch, uniqueId, state, availability, diskHost, ...disk } = this.find(name);
    const type = set === '' ? 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY' : 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY';
    return DiskMessage.fromPartial({
      ...{ name, location, sku, keyVersion, attachEpoch, uniqueId, state, availability, diskHost },
      sizeGib: 4,
      encryption: { type, diskEncryptionSet: set },
      etag: String(disk.version),
      ...(disk.unavailableReason === undefined ? {} : { unavailableReason: disk.unavailableReason }),
      ...(disk.isCreating
        ? { provisioningState: 'CREATING' }
        : { provisioningState: 'SUCCEEDED', managedBy: disk.managedBy, createTime: new Date(disk.createdAt) }),
    });
  }
}

/** The version new disks of a set are under. */
export const keyVersionOf = (set: string): string =>
  `vaults/kv1/keys/${set.split('/').at(-1)}/versions/11111111111111111111111111111111`;
