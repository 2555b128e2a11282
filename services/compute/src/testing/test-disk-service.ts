import { type AccessReason, statusOf } from '@interlock/access';
import {
  type CloseDiskRequest,
  OpenDiskRequest,
  OpenDiskResponse,
} from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Disk, Disk as DiskMessage } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import { type BoundService, type Implementation, service, settleItems } from '@interlock/rpc';
import { logger, systemClock } from '@interlock/runtime';
import type { DiskClient } from '../disk-service/disks.ts';
import type { Sku } from '../vm/machine.ts';
import { skuOf } from '../vm/wire-sku.ts';

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
  /** Version of its stream; rises with every change of its key. */
  version: number;
  availability: Disk['availability'];
  unavailableReason: AccessReason | undefined;
  createdAt: number;
  /** A later disk of the same name has another. */
  uniqueId: string;
}

/** A fake of the disk service and its vault, as compute sees them, with outages on demand. */
export interface FakeDiskService {
  readonly bound: BoundService;
  /** The same without a server: calls the fake directly. */
  readonly client: DiskClient;
  readonly disks: Map<string, FakeDisk>;
  /** By set, the identity that unwraps its disks; empty for a set without an entry. */
  readonly identities: Map<string, string>;
  /** `<method> <disk>` of every call, in order. */
  readonly calls: string[];
  /** Called before each call is carried out. It may throw or wait. */
  before: ((call: string) => Promise<void>) | undefined;
  /** Called after an open or a read of a disk is carried out, before its response. It may wait. */
  beforeAnswer: ((call: string) => Promise<void>) | undefined;
  add(name: string, about: { sku?: Sku; set?: string; keyVersion?: string }): string;
  /** Takes a key version from a set. @returns the number of the loss */
  lose(set: string, keyVersion: string, reason?: AccessReason): number;
  /** Sets what the host shows of the disks under a version: no data for that reason, or data again. */
  show(set: string, keyVersion: string, reason: AccessReason | undefined): void;
  /** Gives it back. @returns the number at which the vault grants access again */
  restore(set: string, keyVersion: string): number;
}

export const location = 'westeurope';

const silent = logger({ service: 'disk', clock: systemClock, write: () => {} });

export const fakeDiskService = (now: () => number): FakeDiskService => {
  const disks = new Map<string, FakeDisk>();
  const lost = new Map<string, AccessReason>();
  const calls: string[] = [];
  let epoch = 100;
  let made = 0;

  const find = (name: string): FakeDisk => {
    const disk = disks.get(name);
    if (disk) return disk;
    throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', `name: ${name} does not exist`, { name });
  };
  const add: FakeDiskService['add'] = (name, { sku = 'PREMIUM_SSD', set = '', keyVersion = '' }) => {
    made += 1;
    disks.set(name, {
      uniqueId: String(made),
      sku,
      set,
      keyVersion,
      managedBy: '',
      state: 'UNATTACHED',
      isOpen: false,
      isCreating: false,
      attachEpoch: 0,
      version: 1,
      availability: 'AVAILABLE',
      unavailableReason: undefined,
      createdAt: now(),
    });
    return name;
  };
  const requireKey = (name: string, { set, keyVersion }: FakeDisk): void => {
    const reason = lost.get(`${set} ${keyVersion}`);
    if (reason === undefined) return;
    throw new Rejection(statusOf(reason), reason, 'the key cannot be used', {
      disk: name,
      disk_encryption_set: set,
      key_version: keyVersion,
      since: '2026-01-01T00:00:00.000Z',
      trace_id: 'ab'.repeat(16),
    });
  };
  const onWire = (name: string): Disk => {
    const disk = find(name);
    return DiskMessage.fromPartial({
      name,
      location,
      sku: disk.sku,
      sizeGib: 4,
      encryption: {
        type: disk.set === '' ? 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY' : 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
        diskEncryptionSet: disk.set,
      },
      keyVersion: disk.keyVersion,
      attachEpoch: disk.attachEpoch,
      etag: String(disk.version),
      uniqueId: disk.uniqueId,
      state: disk.state,
      availability: disk.availability,
      ...(disk.unavailableReason === undefined ? {} : { unavailableReason: disk.unavailableReason }),
      ...(disk.isCreating
        ? { provisioningState: 'CREATING' }
        : { provisioningState: 'SUCCEEDED', managedBy: disk.managedBy, createTime: new Date(disk.createdAt) }),
    });
  };
  /** `<disk> <request>` of revoked attach requests. */
  const givenUp = new Set<string>();
  const free = (disk: FakeDisk): void => {
    disk.managedBy = '';
    disk.state = 'UNATTACHED';
    disk.isOpen = false;
  };

  const asked = async (method: string, name: string): Promise<void> => {
    const call = `${method} ${name}`;
    calls.push(call);
    await fake.before?.(call);
  };
  const notFaked = async (): Promise<never> => {
    throw new Error('compute does not call this');
  };

  const eachItem = <Item, Answer>(items: readonly Item[], handle: (item: Item) => Promise<Answer>) =>
    settleItems(items, { sizeMax: 1_000, log: silent }, handle);
  const openOne = async (requested: OpenDiskRequest): Promise<OpenDiskResponse> => {
    const { name, virtualMachine, attachEpochBefore = Number.MAX_SAFE_INTEGER } = requested;
    await asked('openDisk', name);
    const disk = find(name);
    if (disk.managedBy !== virtualMachine) {
      throw new Rejection('FAILED_PRECONDITION', 'DISK_NOT_ATTACHED', `${name} is not attached`);
    }
    if (disk.attachEpoch > attachEpochBefore) {
      const metadata = { attach_epoch: String(disk.attachEpoch) };
      throw new Rejection('FAILED_PRECONDITION', 'ATTACH_EPOCH_OUTDATED', `${name} was opened since`, metadata);
    }
    requireKey(name, disk);
    disk.isOpen = true;
    disk.state = 'ATTACHED';
    disk.availability = 'AVAILABLE';
    disk.unavailableReason = undefined;
    disk.attachEpoch += 1;
    const answer = OpenDiskResponse.fromPartial({
      attachEpoch: disk.attachEpoch,
      accessToken: `token-${name}-${disk.attachEpoch}`,
      dataAddress: '127.0.0.1:1',
      accessEpoch: disk.set === '' ? 0 : epoch,
      sku: disk.sku,
      diskEncryptionSet: disk.set,
      keyVersion: disk.keyVersion,
      sizeBytes: 4 * 2 ** 30,
      diskVersion: disk.version,
      principal: fake.identities.get(disk.set) ?? '',
    });
    await fake.beforeAnswer?.(`openDisk ${name}`);
    return answer;
  };

  const implementation: Implementation<typeof DiskServiceDefinition> = {
    async createDisk({ parent, diskId, sku, encryption }) {
      const name = `${parent}/disks/${diskId}`;
      await asked('createDisk', name);
      if (disks.has(name)) return onWire(name);
      const set = encryption?.diskEncryptionSet ?? '';
      const disk = find(add(name, { sku: skuOf(sku) ?? 'PREMIUM_SSD', set, keyVersion: set && keyVersionOf(set) }));
      try {
        requireKey(name, disk);
      } catch (error) {
        disks.delete(name);
        throw error;
      }
      return onWire(name);
    },
    async getDisk({ name }) {
      await asked('getDisk', name);
      const answer = onWire(name);
      await fake.beforeAnswer?.(`getDisk ${name}`);
      return answer;
    },
    async listDisks({ diskEncryptionSet, keyVersion, unavailableOnly }) {
      await asked('listDisks', diskEncryptionSet);
      const isAsked = ({ set, keyVersion: own }: FakeDisk): boolean =>
        set === diskEncryptionSet && (keyVersion === '' || own === keyVersion);
      const asWanted = [...disks].filter(([, disk]) => isAsked(disk)).map(([name]) => onWire(name));
      return { disks: asWanted.filter(({ availability }) => !unavailableOnly || availability === 'UNAVAILABLE') };
    },
    async deleteDisk({ name }) {
      await asked('deleteDisk', name);
      if (disks.get(name)?.managedBy)
        throw new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', `${name} is attached`);
      disks.delete(name);
      return {};
    },
    async attachDisk({ name, virtualMachine, requestId }) {
      await asked('attachDisk', name);
      const disk = find(name);
      if (givenUp.has(`${name} ${requestId}`)) return onWire(name);
      if (disk.managedBy !== '' && disk.managedBy !== virtualMachine) {
        throw new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', `${name} is attached to ${disk.managedBy}`);
      }
      disk.managedBy = virtualMachine;
      disk.state = 'ATTACHED';
      return onWire(name);
    },
    async openDisks({ items }) {
      const outcomes = await eachItem(items, async ({ open }) => openOne(OpenDiskRequest.fromPartial(open ?? {})));
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'opened', value: outcome.answer }
              : { $case: 'refused', value: { ...outcome.refused } },
        })),
      };
    },
    async closeDisks({ closings }) {
      const closeOne = async ({ name, virtualMachine, deallocated, attachEpoch }: CloseDiskRequest): Promise<void> => {
        await asked('closeDisk', name);
        const disk = find(name);
        if (disk.managedBy === virtualMachine && (attachEpoch === 0 || attachEpoch >= disk.attachEpoch)) {
          disk.isOpen = false;
          disk.state = deallocated ? 'RESERVED' : 'ATTACHED';
        }
      };
      const outcomes = await eachItem(closings, closeOne);
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome ? { $case: 'closed', value: {} } : { $case: 'refused', value: { ...outcome.refused } },
        })),
      };
    },
    async detachDisk({ name, virtualMachine, requestId }) {
      await asked('detachDisk', name);
      const disk = find(name);
      if (requestId !== '') givenUp.add(`${name} ${requestId}`);
      if (disk.managedBy === virtualMachine) free(disk);
      return onWire(name);
    },
    changeDiskEncryption: notFaked,
    growDisk: notFaked,
    changeDiskSku: notFaked,
    createSnapshot: notFaked,
    getSnapshot: notFaked,
    listSnapshots: notFaked,
    deleteSnapshot: notFaked,
    beginAccess: notFaked,
    endAccess: notFaked,
    checkKeyAccess: notFaked,
    beginGeneration: notFaked,
    listEncryptedResources: notFaked,
    rewrapDeks: notFaked,
    listLeases: notFaked,
    getDiskHost: notFaked,
    listDiskHosts: notFaked,
    drainDiskHost: notFaked,
    resumeDiskHost: notFaked,
    declareDiskHostLost: notFaked,
    deleteDiskHost: notFaked,
  };
  const anybody = { authenticated: true, why: 'the fake has no permissions' } as const;

  const fake: FakeDiskService = {
    disks,
    identities: new Map(),
    calls,
    before: undefined,
    beforeAnswer: undefined,
    client: directClient(implementation),
    bound: service({
      definition: DiskServiceDefinition,
      implementation,
      authorization: {
        createDisk: anybody,
        getDisk: anybody,
        listDisks: anybody,
        deleteDisk: anybody,
        changeDiskEncryption: anybody,
        growDisk: anybody,
        changeDiskSku: anybody,
        createSnapshot: anybody,
        getSnapshot: anybody,
        listSnapshots: anybody,
        deleteSnapshot: anybody,
        attachDisk: anybody,
        openDisks: anybody,
        closeDisks: anybody,
        detachDisk: anybody,
        beginAccess: anybody,
        endAccess: anybody,
        checkKeyAccess: anybody,
        beginGeneration: anybody,
        listEncryptedResources: anybody,
        rewrapDeks: anybody,
        listLeases: anybody,
        getDiskHost: anybody,
        listDiskHosts: anybody,
        drainDiskHost: anybody,
        resumeDiskHost: anybody,
        declareDiskHostLost: anybody,
        deleteDiskHost: anybody,
      },
    }),
    add,
    lose(set, keyVersion, reason = 'KEY_DISABLED') {
      lost.set(`${set} ${keyVersion}`, reason);
      epoch += 1;
      return epoch;
    },
    show(set, keyVersion, reason) {
      for (const disk of disks.values()) {
        if (disk.set !== set || disk.keyVersion !== keyVersion) continue;
        disk.availability = reason === undefined ? 'AVAILABLE' : 'UNAVAILABLE';
        disk.unavailableReason = reason;
      }
    },
    restore(set, keyVersion) {
      lost.delete(`${set} ${keyVersion}`);
      epoch += 1;
      return epoch;
    },
  };
  return fake;
};

/** Calls an implementation as a client would, with whole requests. */
const directClient = (implementation: Implementation<typeof DiskServiceDefinition>): DiskClient =>
  new Proxy({} as DiskClient, {
    get: (_target, method: keyof typeof DiskServiceDefinition.methods) => (request: object) => {
      const handle = implementation[method] as (request: object, call: object) => Promise<unknown>;
      return handle(DiskServiceDefinition.methods[method].requestType.fromPartial(request as never), {});
    },
  });

/** The version new disks of a set are under. */
export const keyVersionOf = (set: string): string =>
  `vaults/kv1/keys/${set.split('/').at(-1)}/versions/11111111111111111111111111111111`;
