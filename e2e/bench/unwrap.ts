import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { openConnections } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { type Scope, systemClock } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { makeKeys } from '../cloud/make-estate.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import { type BenchOptions, benchOf, openCloud } from './bench.ts';
import { backendsOf, cpuMsOf } from './fleet/processes.ts';
import { inFlight, median, rounded, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Bits of a key's modulus. */
const sizes = [2048, 3072, 4096];
/** Single calls in flight: enough to keep both cores busy. */
const singlesInFlight = 64;
/** Items of a batch and batches in flight, as the disk service sends them when many disks are opened. */
const batchItems = 128;
const batchesInFlight = 2;
const algorithm = 'RSA_OAEP_256';
/** A DEK, its id and the disk's id. */
const payloadBytes = 64;

/** A key with wrapped payloads. */
export interface UnwrapKey {
  /** Unwraps this number of DEKs in whole batches (`UnwrapKeys`). */
  batched(count: number): Promise<void>;
  /** Unwraps this number of DEKs by single calls. */
  singles(count: number): Promise<void>;
}

/**
 * Starts the two services that an unwrap needs, and a vault. The three others would compete for the cores: idle, they use some 6 % of one.
 * @returns the cloud, and creates a key of that length
 */
export const openVault = async (
  options: BenchOptions,
  scope: Scope,
): Promise<{ readonly cloud: LocalCloud; readonly createKey: (bits: number) => Promise<UnwrapKey> }> => {
  const { cloud, clients, name } = await openCloud({ ...options, services: ['identity', 'key-vault'] }, scope);
  const { principalId, subscription } = cloud.administrator;
  const vault = `kv-${name.slice(-8)}`;
  await makeKeys(
    {
      ...{ clients, clock: systemClock, uuid: randomUUID, resourceGroup: `${subscription}/resourceGroups/${vault}` },
      owner: `principals/${principalId}`,
    },
    { location, vaults: [{ name: vault, permissions: 'policies', keys: [] }], sets: [] },
  );
  return { cloud, createKey: (bits) => createKey(clients, `vaults/${vault}`, bits) };
};

const createKey = async ({ keyVault }: Clients, vault: string, keySizeBits: number): Promise<UnwrapKey> => {
  const requestId = randomUUID();
  const { name } = await keyVault.createKey({ parent: vault, keyId: `k-${requestId}`, requestId, keySizeBits });
  const wrapped: Buffer[] = [];
  await inFlight(8, batchItems, async () => {
    const { wrappedKey } = await keyVault.wrapKey({ name, algorithm, plaintextKey: randomBytes(payloadBytes) });
    wrapped.push(Buffer.from(wrappedKey));
  });
  const requests = wrapped.map((wrappedKey, n) => ({ name, algorithm, wrappedKey, resource: `disks/d${n}` }) as const);
  const items = requests.map((unwrap) => ({ unwrap, origin: undefined }));
  return {
    batched: (count) =>
      inFlight(batchesInFlight, Math.ceil(count / batchItems), async () => {
        for (const { outcome } of (await keyVault.unwrapKeys({ items })).outcomes) {
          if (outcome?.$case !== 'unwrapped') throw new Error(`an unwrap was refused: ${outcome?.value.reason}`);
          outcome.value.plaintextKey.fill(0);
        }
      }),
    singles: (count) =>
      inFlight(singlesInFlight, count, async (n) => {
        const { plaintextKey } = await keyVault.unwrapKey(requests[n % batchItems] ?? {});
        plaintextKey.fill(0);
      }),
  };
};

/**
 * Unwraps a second over gRPC with TLS, each audited before its response: in batches (the value) and by single calls
 * (`oneByOne`). `size` is the length of the modulus in bits.
 * Floor: the private operation of `openssl speed`, alternately.
 */
export const unwrap = benchOf(
  {
    name: 'unwrap',
    unit: 'unwraps/s',
    sizes,
    accepts: (size) => sizes.includes(size) || `the length of the key in bits: ${sizes.join(', ')}`,
    setUp: async (options, scope) => {
      const folder = options.data.folder('loop-delays');
      const preload = pathToFileURL(join(import.meta.dirname, 'loop-delay-preload.ts')).href;
      const settings = {
        NODE_OPTIONS: `--import=${preload}`,
        INTERLOCK_BENCH_LOOP_DELAYS: folder,
        ...options.settings,
      };
      const { cloud, createKey } = await openVault({ ...options, settings }, scope);
      return { createKey, probe: await openProbe(cloud, folder, scope) };
    },
  },
  async ({ size: bits, usually, rounds }, { createKey, probe }) => {
    const key = await createKey(bits);
    // About two seconds each: the time of an unwrap grows with about the square of the length.
    const count = usually(Math.round(150 * (2048 / bits) ** 2.5)) * batchItems;
    const samples = await rounds(5, async () => ({
      batched: await probe(count, () => key.batched(count)),
      singles: await probe(count, () => key.singles(count)),
      floor: (await rsaSpeed(bits, 1)).decrypt,
    }));
    const [batched, singles] = [samples.map((each) => each.batched), samples.map((each) => each.singles)];
    const floors = samples.map(({ floor }) => floor);
    const perSecond = (all: readonly Probed[]): readonly number[] => all.map(({ tookMs }) => (count / tookMs) * 1_000);
    const oneByOne = median(perSecond(singles));
    const blockedMs = (all: readonly Probed[]): number => Math.max(...all.map(({ loop }) => loop.blocked));
    const details = {
      oneByOne: Math.round(oneByOne),
      oneByOneRatio: rounded(oneByOne / median(floors)),
      loopBlockedMs: blockedMs(batched),
      oneByOneLoopBlockedMs: blockedMs(singles),
      loopDelayP99Ms: Number(median(batched.map(({ loop }) => loop.p99)).toFixed(1)),
      ...cpuDetails('cpu', batched.at(-1)),
      ...cpuDetails('oneByOneCpu', singles.at(-1)),
    };
    return { values: perSecond(batched), floors, details };
  },
);

/** The times of some unwraps. */
interface Probed {
  readonly tookMs: number;
  /** Of key-vault, in ms. */
  readonly loop: { readonly blocked: number; readonly p99: number };
  /** µs of CPU an unwrap, by process. */
  readonly cpu: Readonly<Record<string, number>>;
}

/** @returns measures time, key-vault's event loop and CPU time of some unwraps */
const openProbe = async (cloud: LocalCloud, folder: string, scope: Scope) => {
  const sql = openConnections(cloud.databaseUrls['key-vault'], { maxConnections: 1 });
  scope.defer('statistics', () => sql.end());
  const vault = cloud.pid('key-vault');
  const cpu = async () => ({
    Vault: cpuMsOf([vault]),
    Postgres: cpuMsOf(await backendsOf(sql)),
    Client: cpuMsOf([process.pid]),
  });
  const file = join(folder, 'key-vault.json');
  return async (count: number, work: () => Promise<void>): Promise<Probed> => {
    const before = await cpu();
    const tookMs = await timed(work);
    const after = await cpu();
    rmSync(file, { force: true });
    process.kill(vault, 'SIGUSR2');
    await until('key-vault writes its event loop delays', async () => existsSync(file));
    const perUnwrap = (part: keyof typeof before) => Math.round(((after[part] - before[part]) / count) * 1_000);
    return {
      tookMs,
      loop: JSON.parse(readFileSync(file, 'utf8')),
      cpu: { Vault: perUnwrap('Vault'), Postgres: perUnwrap('Postgres'), Client: perUnwrap('Client') },
    };
  };
};

const cpuDetails = (prefix: string, probed: Probed | undefined): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(probed?.cpu ?? {}).map(([part, us]) => [`${prefix}${part}`, us]));
