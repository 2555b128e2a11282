import { randomBytes } from 'node:crypto';
import type { UnwrapKeyItem } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { openConnections } from '@interlock/event-store';
import { LauncherError } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../cloud/clients.ts';
import type { BenchOptions } from './bench.ts';
import { backendsOf, cpuMs } from './fleet/cpu.ts';
import { inFlight } from './in-flight.ts';
import { loopDelays } from './loop-delay.ts';
import { type Measurement, measurement, median, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';
import { makeWrappedKeys, type WrappedKeys } from './wrapped-keys.ts';

/** Bits of the moduli a key may have. */
const sizes = [2048, 3072, 4096];
/** Single calls at once: enough to keep both cores busy. */
const singlesInFlight = 64;
/** Items of a call, and calls at once, as the disk service sends them when many disks are opened. */
const batchItems = 128;
const batchesInFlight = 2;
const algorithm = 'RSA_OAEP_256';

/** A vault, and a client on the same cores. */
export interface Unwraps {
  readonly cloud: LocalCloud;
  /** Makes a key of that length, and what is unwrapped by it. */
  makeKey(bits: number): Promise<{
    /** Unwraps so many, in whole batches. */
    batched(count: number): Promise<void>;
    singles(count: number): Promise<void>;
  }>;
}

/** Starts a vault, with its gRPC, TLS and record as always. */
export const openUnwraps = async ({ data, settings }: BenchOptions, scope: Scope): Promise<Unwraps> => {
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name: `bench_${randomBytes(4).toString('hex')}`,
    temporary: true,
    services: ['identity', 'key-vault'],
    ...(settings === undefined ? {} : { settings }),
  });
  scope.defer('cloud', cloud.stop);
  const outside = openOutside(cloud);
  scope.defer('clients', async () => outside.close());
  const clients = outside.administrator;
  return {
    cloud,
    async makeKey(bits) {
      const key = await makeWrappedKeys(clients, bits, batchItems);
      return {
        batched: (count) => inFlight(batchesInFlight, Math.ceil(count / batchItems), () => unwrapBatch(clients, key)),
        singles: (count) => inFlight(singlesInFlight, count, (n) => unwrapOne(clients, key, n)),
      };
    },
  };
};

/**
 * Unwraps a second over gRPC with TLS, each on the record of its vault before it is answered, by a client on the same
 * cores: in batches (`UnwrapKeys`), which is the value of the line, and one by one. The floor is the private operation of
 * `openssl speed`, in turn with them. `--size` is the length of the modulus in bits.
 */
export const unwrap = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { size, smoke, data } = options;
  if (size !== undefined && !sizes.includes(size))
    throw new LauncherError(`--size is the length of the key here: ${sizes.join(', ')}, not ${size}.`);
  const delays = loopDelays(data.folder('loop-delays'));
  const { cloud, makeKey } = await openUnwraps(
    { ...options, settings: { ...delays.settings, ...options.settings } },
    scope,
  );
  const spent = await openSpent(cloud, scope);

  const results: Measurement[] = [];
  for (const bits of size === undefined ? sizes : [size]) {
    const key = await makeKey(bits);
    // Some two seconds each where nothing else runs: an unwrap costs about the square of the length.
    const batches = smoke ? 1 : Math.round(150 * (2048 / bits) ** 2.5);
    const count = batches * batchItems;
    const batched = () => key.batched(count);
    const singles = () => key.singles(count);
    await batched();
    await singles();
    const samples = { batched: [] as number[], singles: [] as number[], floor: [] as number[] };
    const loop = { batched: [] as number[], singles: [] as number[], delayP99: [] as number[] };
    const perSecond = (ms: number): number => (count / ms) * 1_000;
    let cpu = {};
    await delays.since(cloud, 'key-vault');
    for (let round = 0; round < (smoke ? 1 : 5); round++) {
      const before = await spent();
      samples.batched.push(perSecond(await timed(batched)));
      const between = await spent();
      const { blocked, p99 } = await delays.since(cloud, 'key-vault');
      loop.batched.push(blocked);
      loop.delayP99.push(p99);
      samples.singles.push(perSecond(await timed(singles)));
      const after = await spent();
      loop.singles.push((await delays.since(cloud, 'key-vault')).blocked);
      cpu = { ...perUnwrap(before, between, count, 'cpu'), ...perUnwrap(between, after, count, 'oneByOneCpu') };
      samples.floor.push((await rsaSpeed(bits, 1)).decrypt);
    }
    const oneByOne = median(samples.singles);
    results.push(
      measurement({ bench: 'unwrap', size: bits, unit: 'unwraps/s' }, samples.batched, samples.floor, {
        oneByOne: Math.round(oneByOne),
        oneByOneRatio: Number((oneByOne / median(samples.floor)).toPrecision(4)),
        // Of key-vault, in ms: most it blocked its event loop itself, and for how long that did not come round.
        loopBlockedMs: Math.max(...loop.batched),
        oneByOneLoopBlockedMs: Math.max(...loop.singles),
        loopDelayP99Ms: Number(median(loop.delayP99).toFixed(1)),
        // Microseconds of processor time an unwrap in the last round: what the rates do not say on a busy machine.
        ...cpu,
      }),
    );
  }
  return results;
};

const unwrapOne = async ({ keyVault }: Clients, { keyVersion, wrapped }: WrappedKeys, n: number): Promise<void> => {
  const wrappedKey = wrapped[n % wrapped.length] ?? Buffer.alloc(0);
  const { plaintextKey } = await keyVault.unwrapKey({
    name: keyVersion,
    algorithm,
    wrappedKey,
    resource: `disks/d${n}`,
  });
  plaintextKey.fill(0);
};

const unwrapBatch = async ({ keyVault }: Clients, { keyVersion, wrapped }: WrappedKeys): Promise<void> => {
  const items = wrapped.map(
    (wrappedKey, n): UnwrapKeyItem => ({
      unwrap: { name: keyVersion, algorithm, wrappedKey, resource: `disks/d${n}` },
      origin: undefined,
    }),
  );
  const { outcomes } = await keyVault.unwrapKeys({ items });
  for (const { outcome } of outcomes) {
    if (outcome?.$case !== 'unwrapped') throw new Error(`an unwrap was refused: ${outcome?.value.reason}`);
    outcome.value.plaintextKey.fill(0);
  }
};

/** Processor time so far, in ms, of all who have a part in an unwrap. */
type Spent = Readonly<Record<'Vault' | 'Postgres' | 'Client', number>>;

const openSpent = async (cloud: LocalCloud, scope: Scope): Promise<() => Promise<Spent>> => {
  const sql = openConnections(cloud.databaseUrls['key-vault'], { maxConnections: 1 });
  scope.defer('statistics', () => sql.end());
  return async () => ({
    Vault: cpuMs([cloud.pid('key-vault')]),
    Postgres: cpuMs(await backendsOf(sql)),
    Client: cpuMs([process.pid]),
  });
};

const perUnwrap = (before: Spent, after: Spent, count: number, prefix: string): Readonly<Record<string, number>> =>
  Object.fromEntries(
    (['Vault', 'Postgres', 'Client'] as const).map((who) => [
      `${prefix}${who}`,
      Math.round(((after[who] - before[who]) / count) * 1_000),
    ]),
  );
