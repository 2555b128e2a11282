import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskEvent } from '@interlock/contracts/interlock/disk/v1/disk_events.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type Cause, type EventStore, memoryStore } from '@interlock/event-store';
import { type CloudService, type InProcessCloud, inProcessCloud, type OwnSeams, type Replica } from '@interlock/host';
import { type Bus, memoryBus, type ToFact } from '@interlock/messaging';
import { type BoundService, type RpcClient, simulatedTokens, type TokenFormat, type Workload } from '@interlock/rpc';
import {
  type Clock,
  logger,
  type Random,
  seededRandom,
  systemClock,
  systemRandom,
  type VirtualClock,
  virtualClock,
} from '@interlock/runtime';
import { type Meter, trace } from '@opentelemetry/api';
import { type Account, testIdentity } from '../../../identity/src/testing/test-identity.ts';
import { assemble, type ComputeSettings } from '../assemble.ts';
import { type SimulatedDriver, simulatedDriver } from '../guests/simulated-driver.ts';
import { FakeDiskService } from './test-disk-service.ts';

/** compute with the real identity, a fake disk service, and a publisher of facts in place of disk encryption sets. */
export interface TestCloud {
  readonly cloud: InProcessCloud;
  readonly disks: FakeDiskService;
  readonly driver: SimulatedDriver;
  /** Store of compute. */
  readonly store: EventStore;
  /** compute, as its administrator sees it. */
  readonly compute: RpcClient<typeof ComputeServiceDefinition>;
  /** compute, as a workload sees it. */
  readonly computeAs: (workload: Workload) => RpcClient<typeof ComputeServiceDefinition>;
  /** Identity, as its administrator sees it. */
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  tellOfSet(event: NonNullable<DiskEncryptionSetEvent['event']>, cause?: Partial<Cause>): Promise<void>;
  publishOfDisk(event: NonNullable<DiskEvent['event']>): Promise<void>;
  close(): Promise<void>;
}

/** Differences from the default test cloud. */
export interface TestCloudOptions {
  /** Store and bus of compute; in memory by default. */
  readonly store?: EventStore;
  readonly bus?: Bus;
  readonly settings?: Partial<ComputeSettings>;
  /** The system's by default. */
  readonly clock?: Clock;
  readonly random?: Random;
  readonly tokenFormat?: TokenFormat;
  readonly meter?: Meter;
  /** Which of compute's replicas takes a call; by default the lowest. */
  readonly chooseReplica?: (running: readonly number[]) => number;
  /** Seams of one replica, given the store of its service. */
  readonly ownSeams?: (replica: Replica, store: EventStore) => OwnSeams;
}

/** A test cloud in virtual time, from a seed. `clock.drive` advances the time while something is done. */
export const openVirtualCloud = async (
  seed: number,
  options: Omit<TestCloudOptions, 'clock' | 'random' | 'tokenFormat'> = {},
): Promise<TestCloud & { readonly clock: VirtualClock; readonly random: Random }> => {
  const clock = virtualClock();
  const random = seededRandom(seed);
  const tokenFormat = simulatedTokens(random.fork('tokens'));
  const world = await clock.drive(openTestCloud({ ...options, clock, random: random.fork('cloud'), tokenFormat }));
  return { ...world, clock, random: random.fork('test') };
};

export const openTestCloud = async (options: TestCloudOptions = {}): Promise<TestCloud> => {
  const { clock = systemClock, random = systemRandom, tokenFormat } = options;
  const identity = testIdentity(random, {
    subscriptions: ['s'],
    lifetimes: { userMs: 600_000, managedIdentityMs: 5_000 },
    ...(tokenFormat === undefined ? {} : { tokenFormat }),
  });
  const store = options.store ?? memoryStore({ clock });
  const stores = new Map<Workload, EventStore>([['compute', store]]);
  const storeOf = (name: Workload): EventStore => {
    const found = stores.get(name) ?? memoryStore({ clock });
    stores.set(name, found);
    return found;
  };
  const disks = new FakeDiskService(clock.now);
  const driver = simulatedDriver(clock);
  const settings: ComputeSettings = {
    driver,
    startTimeoutMs: 5_000,
    guestStopTimeoutMs: 200,
    leaseTtlMs: 60_000,
    sweepIntervalMs: 60_000,
    dataDisksMax: 8,
    diskCallsMax: 16,
    ...options.settings,
  };
  const cloud = await inProcessCloud({
    services: {
      identity: identity.service,
      disk: teller([disks.bound]),
      'disk-encryption-set': teller([]),
      compute: (seams) => assemble({ ...seams, settings }),
    },
    storeOf,
    bus: options.bus ?? memoryBus({ clock, random }),
    workloadOf: (name) => identity.workloads[name],
    clock,
    random,
    log: logger({ service: 'test', clock, write: () => {} }),
    tracer: trace.getTracer('test'),
    issuer: identity.issuer,
    authzTtlMs: 60_000,
    ...(tokenFormat === undefined ? {} : { tokenFormat }),
    ...(options.meter === undefined ? {} : { meter: options.meter }),
    ...(options.chooseReplica === undefined ? {} : { chooseReplica: options.chooseReplica }),
    ...(options.ownSeams === undefined
      ? {}
      : { ownSeams: (replica) => options.ownSeams?.(replica, storeOf(replica.service)) ?? {} }),
  });
  /** Consumers accept only facts from the streams of their source. */
  const categories = { 'disk-encryption-set': 'set', disk: 'disk' } as const;
  const publish = async (
    from: keyof typeof categories,
    type: string,
    payload: Uint8Array,
    cause: Partial<Cause> = {},
  ): Promise<void> => {
    const event = { type, schema: 1, data: { payload: Buffer.from(payload).toString('base64') } };
    const appends = [{ stream: `${categories[from]}-${random.uuid()}`, expected: 0, events: [event] } as const];
    const id = random.uuid();
    await storeOf(from).commit({ appends }, { correlationId: id, causes: [], caller: 'system:test', ...cause });
  };
  const nameOf = ($case: string): string => `${$case.charAt(0).toUpperCase()}${$case.slice(1)}`;
  const computeAs = (account: Account) => cloud.as(account).client('compute', ComputeServiceDefinition);
  return {
    cloud,
    disks,
    driver,
    store,
    compute: computeAs(identity.administrator),
    identity: cloud.as(identity.administrator).client('identity', IdentityServiceDefinition),
    computeAs: (workload) => computeAs(identity.workloads[workload]),
    tellOfSet: (event, cause) =>
      publish('disk-encryption-set', nameOf(event.$case), DiskEncryptionSetEvent.encode({ event }).finish(), cause),
    publishOfDisk: (event) => publish('disk', nameOf(event.$case), DiskEvent.encode({ event }).finish()),
    close: () => cloud.close(),
  };
};

/** A service that publishes what is put into its store. */
const teller =
  (services: readonly BoundService[]): CloudService =>
  async () => {
    const toFact: ToFact = ({ type, data }) => ({ type, payload: Buffer.from(String(data.payload), 'base64') });
    return { services, toFact };
  };

/** Reads again until the condition holds. @throws Error with the last value after two minutes: a limit for tests that hang */
export const until = async <Value>(
  read: () => Promise<Value>,
  condition: (value: Value) => boolean,
  clock: Clock = systemClock,
): Promise<Value> => {
  const endMs = clock.monotonicMs() + 120_000;
  for (;;) {
    const value = await read();
    if (condition(value)) return value;
    if (clock.monotonicMs() > endMs) throw new Error(`the condition did not come true: ${JSON.stringify(value)}`);
    await clock.sleep(5);
  }
};
