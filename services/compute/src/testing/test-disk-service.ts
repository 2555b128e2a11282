import {
  type AttachDiskRequest,
  type CloseDiskRequest,
  type DetachDiskRequest,
  OpenDiskRequest,
  OpenDiskResponse,
} from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { type BoundService, type Implementation, service, settleItems } from '@interlock/rpc';
import { logger, systemClock } from '@interlock/runtime';
import type { DiskClient } from '../disk-service/disks.ts';
import { skuOf } from '../vm/wire-sku.ts';
import { type FakeDisk, FakeDisks, keyVersionOf } from './test-disks.ts';

/**
 * A fake of the disk service and its vault, as compute sees them, with outages on demand. The real ones run with compute in
 * e2e/simulation. They would report losses to compute themselves, so no test could decide which message arrives, when, and what a
 * disk host shows meanwhile.
 */
export class FakeDiskService extends FakeDisks {
  /** `<method> <disk>` of every call, in order. */
  readonly calls: string[] = [];
  /** Called before each call is carried out. It may throw or wait. */
  before: ((call: string) => Promise<void>) | undefined;
  /** Called after an open or a read of a disk is carried out, before its response. It may wait. */
  beforeAnswer: ((call: string) => Promise<void>) | undefined;
  readonly bound: BoundService;
  /** The same without a server: calls the fake directly. */
  readonly client: DiskClient;

  constructor(now: () => number) {
    super(now);
    const implementation = implementationOf(this);
    this.bound = service({ definition: DiskServiceDefinition, implementation, authorization });
    this.client = directClient(implementation);
  }

  /** Records a call and waits for what the test does before it. */
  async begin(method: string, name: string): Promise<void> {
    const call = `${method} ${name}`;
    this.calls.push(call);
    await this.before?.(call);
  }
}

type DiskImplementation = Implementation<typeof DiskServiceDefinition>;

/** The same for every method of the disk service. */
const forEveryMethod = <Value>(value: Value): Record<keyof DiskImplementation, Value> =>
  Object.fromEntries(Object.keys(DiskServiceDefinition.methods).map((method) => [method, value])) as never;

const authorization = forEveryMethod({ authenticated: true, why: 'the fake has no permissions' } as const);

const log = logger({ service: 'disk', clock: systemClock, write: () => {} });
const eachItem = <Item, Answer>(items: readonly Item[], handle: (item: Item) => Promise<Answer>) =>
  settleItems(items, { sizeMax: 1_000, log }, handle);

const implementationOf = (fake: FakeDiskService): DiskImplementation => ({
  ...forEveryMethod(async (): Promise<never> => {
    throw new Error('compute does not call this');
  }),
  ...diskMethods(fake),
  async attachDisk(request) {
    await fake.begin('attachDisk', request.name);
    attach(fake, request);
    return fake.onWire(request.name);
  },
  async openDisks({ items }) {
    const outcomes = await eachItem(items, ({ open }) => openOne(fake, OpenDiskRequest.fromPartial(open ?? {})));
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
    const outcomes = await eachItem(closings, (closing) => closeOne(fake, closing));
    return {
      outcomes: outcomes.map((outcome) => ({
        outcome:
          'answer' in outcome ? { $case: 'closed', value: {} } : { $case: 'refused', value: { ...outcome.refused } },
      })),
    };
  },
  async detachDisk(request) {
    await fake.begin('detachDisk', request.name);
    detach(fake, request);
    return fake.onWire(request.name);
  },
});

/** Methods on disks that no machine needs to hold. */
const diskMethods = (
  fake: FakeDiskService,
): Pick<DiskImplementation, 'createDisk' | 'getDisk' | 'listDisks' | 'deleteDisk'> => ({
  async createDisk({ parent, diskId, sku, encryption }) {
    const name = `${parent}/disks/${diskId}`;
    await fake.begin('createDisk', name);
    if (fake.disks.has(name)) return fake.onWire(name);
    const set = encryption?.diskEncryptionSet ?? '';
    fake.add(name, { sku: skuOf(sku) ?? 'PREMIUM_SSD', set, keyVersion: set && keyVersionOf(set) });
    try {
      fake.requireKey(name);
    } catch (error) {
      fake.disks.delete(name);
      throw error;
    }
    return fake.onWire(name);
  },
  async getDisk({ name }) {
    await fake.begin('getDisk', name);
    const answer = fake.onWire(name);
    await fake.beforeAnswer?.(`getDisk ${name}`);
    return answer;
  },
  async listDisks({ diskEncryptionSet, keyVersion, unavailableOnly }) {
    await fake.begin('listDisks', diskEncryptionSet);
    const isAsked = ({ set, keyVersion: own }: FakeDisk): boolean =>
      set === diskEncryptionSet && (keyVersion === '' || own === keyVersion);
    const asWanted = [...fake.disks].filter(([, disk]) => isAsked(disk)).map(([name]) => fake.onWire(name));
    return { disks: asWanted.filter(({ availability }) => !unavailableOnly || availability === 'UNAVAILABLE') };
  },
  async deleteDisk({ name }) {
    await fake.begin('deleteDisk', name);
    if (fake.disks.get(name)?.managedBy)
      throw new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', `${name} is attached`);
    fake.disks.delete(name);
    return {};
  },
});

/** @throws Rejection DISK_ATTACHED to another machine */
const attach = (fake: FakeDisks, { name, virtualMachine, requestId }: AttachDiskRequest): void => {
  const disk = fake.find(name);
  const isHandled = disk.attachRequests.includes(requestId) || disk.attachesGivenUp.includes(requestId);
  if (isHandled || disk.managedBy === virtualMachine) return;
  if (disk.managedBy !== '') {
    throw new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', `${name} is attached to ${disk.managedBy}`);
  }
  disk.managedBy = virtualMachine;
  disk.state = 'ATTACHED';
  disk.attachRequests.push(requestId);
};

/** @throws Rejection DISK_NOT_ATTACHED, ATTACH_EPOCH_OUTDATED, or the reason for which its key cannot be used */
const openOne = async (fake: FakeDiskService, requested: OpenDiskRequest): Promise<OpenDiskResponse> => {
  const { name, virtualMachine, attachEpochBefore = Number.MAX_SAFE_INTEGER } = requested;
  await fake.begin('openDisk', name);
  const disk = fake.find(name);
  if (disk.managedBy !== virtualMachine) {
    throw new Rejection('FAILED_PRECONDITION', 'DISK_NOT_ATTACHED', `${name} is not attached`);
  }
  if (disk.attachEpoch > attachEpochBefore) {
    const metadata = { attach_epoch: String(disk.attachEpoch) };
    throw new Rejection('FAILED_PRECONDITION', 'ATTACH_EPOCH_OUTDATED', `${name} was opened since`, metadata);
  }
  fake.requireKey(name);
  disk.isOpen = true;
  disk.state = 'ATTACHED';
  disk.availability = 'AVAILABLE';
  disk.unavailableReason = undefined;
  disk.attachEpoch += 1;
  const answer = OpenDiskResponse.fromPartial({
    attachEpoch: disk.attachEpoch,
    accessToken: `token-${name}-${disk.attachEpoch}`,
    dataAddress: '127.0.0.1:1',
    accessEpoch: disk.set === '' ? 0 : fake.accessEpoch,
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

const closeOne = async (fake: FakeDiskService, closing: CloseDiskRequest): Promise<void> => {
  const { name, virtualMachine, deallocated, attachEpoch } = closing;
  await fake.begin('closeDisk', name);
  const disk = fake.find(name);
  if (disk.managedBy !== virtualMachine || (attachEpoch !== 0 && attachEpoch < disk.attachEpoch)) return;
  // A late close does not take back that the machine is deallocated.
  if (!disk.isOpen && !deallocated) return;
  disk.isOpen = false;
  disk.state = deallocated ? 'RESERVED' : 'ATTACHED';
};

/** Gives the attach request up with it. If that ended long ago, a newer attachment stays. */
const detach = (fake: FakeDisks, { name, virtualMachine, requestId }: DetachDiskRequest): void => {
  const disk = fake.find(name);
  if (requestId !== '' && disk.attachRequests.at(-1) !== requestId) {
    if (disk.attachRequests.includes(requestId) || disk.attachesGivenUp.includes(requestId)) return;
    disk.attachesGivenUp.push(requestId);
  }
  if (disk.managedBy !== virtualMachine) return;
  Object.assign(disk, { managedBy: '', state: 'UNATTACHED', isOpen: false });
};

/** Calls an implementation as a client would, with whole requests. */
const directClient = (implementation: Implementation<typeof DiskServiceDefinition>): DiskClient =>
  new Proxy({} as DiskClient, {
    get: (_target, method: keyof typeof DiskServiceDefinition.methods) => (request: object) => {
      const handle = implementation[method] as (request: object, call: object) => Promise<unknown>;
      return handle(DiskServiceDefinition.methods[method].requestType.fromPartial(request as never), {});
    },
  });
