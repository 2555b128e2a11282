import { randomBytes } from 'node:crypto';
import { type DataFolder, LauncherError, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { type Postgres, startPostgres } from '@interlock/local/postgres.ts';
import type { ServiceName } from '@interlock/local/services.ts';
import { createScope, type Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import type { DataTarget } from './disk-io/data-client.ts';
import { type Details, type Measurement, measurement } from './measure.ts';

/** Options of a run. */
export interface BenchOptions {
  /** Only this size. Each bench defines what a size is. */
  readonly size: number | undefined;
  /** Duration, for benches that measure over time; each has its default. */
  readonly seconds: number | undefined;
  /** Processes of each service, in benches of a whole cloud; default 1. */
  readonly replicas: number | undefined;
  /** Disk hosts as processes of their own, in benches of a whole cloud; default 0: disk is one process with the volumes. */
  readonly diskHosts: number | undefined;
  /** VM hosts, in benches of a whole cloud; default 0: no VM hosts, and machines without guests. */
  readonly vmHosts: number | undefined;
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

/** What a bench is. */
interface BenchNamed<Shared> {
  readonly name: string;
  readonly unit: string;
  /** Sizes without `--size`; with `--smoke` only `smoke`, if it is given. */
  readonly sizes: readonly number[];
  readonly smoke?: number;
  /** Whether `--size` may have this value, or else what is allowed. */
  readonly accepts?: (size: number) => true | string;
  /** Whether it starts a whole cloud, so that it takes `--replicas`, `--disk-hosts` and `--vm-hosts`. */
  readonly isOfCloud?: boolean;
  /** Opens what all sizes share. */
  readonly setUp?: (options: BenchOptions, scope: Scope) => Promise<Shared>;
}

/** The run of one size. What it opens is registered on its scope. */
export interface BenchRun {
  readonly size: number;
  readonly options: BenchOptions;
  readonly scope: Scope;
  /** This number, or the other one in a smoke run; 1 by default. */
  usually(count: number, inSmoke?: number): number;
  /** Samples of so many rounds after `warmUps` (1 by default); of one without a warm-up in a smoke run. Rounds begin at 0. */
  rounds<Sample>(
    count: number,
    sample: (round: number) => Promise<Sample>,
    warmUps?: number,
  ): Promise<readonly Sample[]>;
}

/** Samples of a value and of its floor. Size and unit are those of the run, unless given. */
export interface Sampled extends Partial<Pick<Measurement, 'size' | 'unit'>> {
  readonly values: readonly number[];
  readonly floors: readonly number[];
  readonly details?: Details;
}

/** A bench: measures and returns one line per size. Registers everything it opens on the scope. */
export interface Bench extends Pick<BenchNamed<never>, 'name' | 'isOfCloud'> {
  /** @throws LauncherError if the bench does not accept the size */
  run(options: BenchOptions, scope: Scope): Promise<readonly Measurement[]>;
}

/** A bench that measures its sizes one after the other, each in a scope of its own. */
export const benchOf = <Shared>(
  { name, unit, sizes, smoke, accepts, isOfCloud = false, setUp }: BenchNamed<Shared>,
  sample: (run: BenchRun, shared: Shared) => Promise<Sampled | readonly Sampled[]>,
): Bench => ({
  name,
  isOfCloud,
  async run(options, scope) {
    const allowed = options.size === undefined || (accepts?.(options.size) ?? true);
    if (allowed !== true) throw new LauncherError(`--size of ${name} is ${allowed} (got ${options.size}).`);
    const shared = (await setUp?.(options, scope)) as Shared;
    const measured: Measurement[] = [];
    const usual = options.smoke && smoke !== undefined ? [smoke] : sizes;
    const usually: BenchRun['usually'] = (count, inSmoke = 1) => (options.smoke ? inSmoke : count);
    const rounds: BenchRun['rounds'] = async (count, sampleOne, warmUps = 1) => {
      const samples = [];
      while (samples.length < usually(count + warmUps)) samples.push(await sampleOne(samples.length));
      return samples.slice(usually(warmUps, 0));
    };
    for (const size of options.size === undefined ? usual : [options.size]) {
      const own = createScope();
      scope.defer(`size ${size}`, () => own.close());
      const sampled = [await sample({ size, options, scope: own, usually, rounds }, shared)].flat();
      for (const { values, floors, details, ...named } of sampled)
        measured.push(measurement({ bench: name, size, unit, ...named }, values, floors, details));
      await own.close();
    }
    return measured;
  },
});

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
 * @param options.services those that a bench measures; by default all
 */
export const openCloud = async (
  {
    data,
    settings,
    replicas = 1,
    diskHosts = 0,
    vmHosts = 0,
    services,
  }: Pick<BenchOptions, 'data' | 'settings' | 'replicas' | 'diskHosts' | 'vmHosts'> & {
    readonly services?: readonly ServiceName[];
  },
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
    ...{ diskHosts, vmHosts },
    ...(services === undefined ? {} : { services }),
    postgresSettings,
    // The sweep checks every disk, but only to find access losses that no service published. No bench measures those.
    settings: {
      GUEST_DRIVER: vmHosts > 0 ? 'hosts' : 'idle',
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
