import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EventStore, memoryStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase } from '@interlock/event-store/test-database';
import { workloads } from '@interlock/host';
import { type Bus, memoryBus } from '@interlock/messaging';
import { openTestBus } from '@interlock/messaging/test-bus';
import { CALL_MAX_MS, type Link, simulatedTokens, type TokenFormat, type Workload } from '@interlock/rpc';
import {
  type Clock,
  type Random,
  type Scope,
  seededRandom,
  systemClock,
  systemRandom,
  virtualClock,
} from '@interlock/runtime';
import {
  folderVolumeFiles,
  memoryVolumeFiles,
  type VolumeFiles,
} from '../../services/disk/src/host/storage/volume-files.ts';
import { createRsaPool } from '../../services/key-vault/src/rsa/pool.ts';
import type { RsaEngine } from '../../services/key-vault/src/rsa/rsa.ts';
import { SimulatedRsa } from '../../services/key-vault/src/rsa/simulated-rsa.ts';
import { openFileSealKeyStore } from '../../services/key-vault/src/sealing/file-seal-key-store.ts';
import { createMemorySealKeyStore, type SealKeyStore } from '../../services/key-vault/src/sealing/seal-key-store.ts';
import type { Sealing } from '../../services/key-vault/src/sealing/sealing.ts';

/** What the services of a place run on. */
export interface Target {
  readonly clock: Clock;
  readonly random: Random;
  readonly storeOf: (service: Workload) => EventStore;
  readonly bus: Bus;
  readonly files: VolumeFiles;
  readonly sealKeys: SealKeyStore;
  readonly engine: (sealing: Sealing) => RsaEngine;
  /** Deadline of a client's calls, in milliseconds; undefined: the usual one. */
  readonly outsideDeadlineMs: number | undefined;
  /** How identity signs tokens; undefined: as in production. */
  readonly tokenFormat: TokenFormat | undefined;
  /** What is between a caller and a service. */
  readonly link: Link;
  /** Does work while the time of the services passes. */
  run<Result>(work: () => Promise<Result>): Promise<Result>;
}

/** Opens a target, whose parts end with the scope. */
export type OpenTarget = (scope: Scope) => Promise<Target>;

/** Postgres and NATS of `DATABASE_URL` and `NATS_URL`, RSA, files, and the clock of the system. */
export const realTarget: OpenTarget = async (scope) => {
  const stores = await openStores(scope);
  const bus = await openTestBus(workloads);
  scope.defer('bus', () => bus.close());
  const folder = await mkdtemp(join(tmpdir(), 'interlock-truth-'));
  scope.defer('folder', () => rm(folder, { recursive: true, force: true }));
  const volumes = join(folder, 'volumes');
  const files = folderVolumeFiles(volumes);
  scope.defer('volume files', () => files.close());
  await mkdir(volumes);
  return {
    clock: systemClock,
    random: systemRandom,
    storeOf: storeIn(stores),
    bus,
    files,
    sealKeys: await openFileSealKeyStore(join(folder, 'seal-keys'), systemRandom),
    engine: (sealing) => createRsaPool({ sealing, workers: 1 }),
    outsideDeadlineMs: CALL_MAX_MS,
    tokenFormat: undefined,
    link: (carry) => carry,
    run: (work) => work(),
  };
};

/** What the simulation runs on, without its faults: memory, simulated RSA and tokens, and virtual time. */
export const simulatedTarget: OpenTarget = async () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const stores = new Map(workloads.map((service) => [service, memoryStore({ clock })]));
  return {
    clock,
    random,
    storeOf: storeIn(stores),
    bus: memoryBus({ clock, random: random.fork('bus') }),
    files: memoryVolumeFiles(random.fork('volumes'), volumeBytesMax),
    sealKeys: createMemorySealKeyStore(),
    engine: (sealing) => new SimulatedRsa({ sealing, random: random.fork('rsa') }),
    outsideDeadlineMs: undefined,
    tokenFormat: simulatedTokens(random.fork('tokens')),
    link: takingTime(clock),
    run: (work) => clock.drive(work(), dayMs),
  };
};

/** A network: without one, events of several services have the same time, and a recording does not show which came first. */
const takingTime =
  (clock: Clock): Link =>
  (carry) => ({
    ...carry,
    once: async (...call) => {
      await clock.sleep(1);
      return carry.once(...call);
    },
  });

/** The size of a simulated volume: more than guests write to it here. */
const volumeBytesMax = 1024 * 1024;

/** The longest work on a simulated target, in virtual milliseconds. */
const dayMs = 86_400_000;

const storeIn =
  (stores: ReadonlyMap<Workload, EventStore>): Target['storeOf'] =>
  (service) => {
    const store = stores.get(service);
    if (!store) throw new Error(`${service} has no store`);
    return store;
  };

const openStores = async (scope: Scope): Promise<ReadonlyMap<Workload, EventStore>> => {
  const stores = new Map<Workload, EventStore>();
  for (const service of workloads) {
    const database = await createTestDatabase();
    scope.defer(`database of ${service}`, () => database.drop());
    const settings = { url: database.url, clock: systemClock, random: systemRandom, maxConnections: 4 };
    const store = await openPostgresStore(settings);
    scope.defer(`store of ${service}`, () => store.close());
    stores.set(service, store);
  }
  return stores;
};
