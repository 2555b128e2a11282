import { randomBytes } from 'node:crypto';
import { type DataFolder, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { type Postgres, startPostgres } from '@interlock/local/postgres.ts';
import { createScope, type Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import type { DataTarget } from './disk-io/data-client.ts';
import type { Measurement } from './measure.ts';

/** Options of a run. */
export interface BenchOptions {
  /** Only this size. Each bench defines what a size is. */
  readonly size: number | undefined;
  /** Duration, for benches that measure over time; each has its default. */
  readonly seconds: number | undefined;
  /** Processes of each service, in benches of a whole cloud; default 1. */
  readonly replicas: number | undefined;
  /** As small as possible: shows that the bench runs. */
  readonly smoke: boolean;
  /** More settings for the services. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A folder for this run alone. */
  readonly data: DataFolder;
}

/** Postgres's own log may become long, so that no checkpoint falls into a measurement. */
const postgresSettings = { max_wal_size: '4GB' };

/** Space for the facts of a fleet, so that no consumer must read the feed instead. In bytes, for each stream. */
const streamBytesMax = 2 ** 29;

/** Measures and returns one line per size. Registers everything it opens on the scope. */
export type Bench = (options: BenchOptions, scope: Scope) => Promise<readonly Measurement[]>;

/** A running cloud and the administrator's clients. */
export interface BenchCloud {
  readonly cloud: LocalCloud;
  readonly clients: Clients;
  /** Prefix of the names of the cloud's databases and streams. */
  readonly name: string;
  /** Folder of this cloud alone. */
  readonly data: DataFolder;
}

/**
 * Starts a cloud of separate processes whose machines have no guests. Each has its own databases, so each has its own folder: a
 * key-vault that finds the mark of other databases in its folder takes its store for restored and is on hold.
 */
export const openCloud = async (
  { data, settings, replicas = 1 }: Pick<BenchOptions, 'data' | 'settings' | 'replicas'>,
  scope: Scope,
): Promise<BenchCloud> => {
  const id = randomBytes(4).toString('hex');
  const name = `bench_${id}`;
  const own = openDataFolder(data.folder(id));
  const cloud = await startLocalCloud({
    data: own,
    env: process.env,
    name,
    temporary: true,
    replicas,
    postgresSettings,
    // The sweep checks every disk, but only to find access losses that no service published. No bench measures those.
    settings: {
      GUEST_DRIVER: 'idle',
      SWEEP_INTERVAL_MS: '3600000',
      NATS_STREAM_BYTES_MAX: String(streamBytesMax),
      ...settings,
    },
  });
  scope.defer('cloud', cloud.stop);
  const outside = openOutside(cloud);
  scope.defer('clients', () => outside.close());
  return { cloud, clients: outside.administrator, name, data: own };
};

/** Creates a disk of 1 GiB under a set and begins direct access to it for an hour. */
export const openDisk = async (
  { cloud, clients }: Pick<BenchCloud, 'cloud' | 'clients'>,
  { group, set }: { readonly group: string; readonly set: string },
  diskId: string,
): Promise<DataTarget> => {
  const { name: disk } = await clients.disks.createDisk({
    parent: group,
    diskId,
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
  });
  await until(
    `${disk} is created`,
    async () => (await clients.disks.getDisk({ name: disk })).provisioningState === 'SUCCEEDED',
  );
  const access = await clients.disks.beginAccess({ name: disk, accessLevel: 'WRITE', durationSeconds: 3_600 });
  return { address: access.dataAddress, authorityFile: cloud.authorityFile, disk, accessToken: access.accessToken };
};

/** Starts Postgres and creates databases for this run. @returns the server, and a URL for each name */
export const openDatabases = async <Name extends string>(
  bench: string,
  names: readonly Name[],
  data: DataFolder,
  scope: Scope,
): Promise<{ readonly postgres: Postgres; readonly urls: Readonly<Record<Name, string>> }> => {
  const postgres = await startPostgres(data, process.env, {}, postgresSettings);
  scope.defer('Postgres', postgres.stop);
  const databaseOf = (name: Name): string => `bench_${bench}_${name}_${process.pid}`;
  await postgres.createDatabases(names.map(databaseOf));
  scope.defer('databases', () => postgres.dropDatabases(names.map(databaseOf)));
  const urls = Object.fromEntries(names.map((name) => [name, postgres.shortUrl(databaseOf(name))]));
  return { postgres, urls: urls as Record<Name, string> };
};

/** Measures one size after the other, each in a scope of its own. @param sizes default sizes, and that of `--smoke` */
export const forEachSize = async (
  { size, smoke }: BenchOptions,
  sizes: { readonly usual: readonly number[]; readonly smoke: number },
  scope: Scope,
  measure: (size: number, scope: Scope) => Promise<readonly Measurement[]>,
): Promise<readonly Measurement[]> => {
  const measured: Measurement[] = [];
  const usual = smoke ? [sizes.smoke] : sizes.usual;
  for (const one of size === undefined ? usual : [size]) {
    const own = createScope();
    scope.defer(`size ${one}`, () => own.close());
    measured.push(...(await measure(one, own)));
    await own.close();
  }
  return measured;
};
