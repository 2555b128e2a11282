import { DEFAULT_PARTITION_COUNT, deleteStreams, ensureStreams, natsSpec, streamsSpec } from '@interlock/messaging';
import { readConfig, systemClock } from '@interlock/runtime';
import { LauncherError } from './data-folder.ts';
import type { Nats } from './nats.ts';

/** Variables of the environment. */
type Environment = Readonly<Record<string, string | undefined>>;

/** A new stream exists at once, but a given cluster may still elect a leader. In milliseconds. */
const patienceMs = 10_000;

/** In how many partitions services publish: `PARTITION_COUNT`, read here because permissions depend on it. */
export const partitionCountOf = ({ PARTITION_COUNT: count }: Environment): number =>
  count === undefined || !/^\d{1,3}$/.test(count) ? DEFAULT_PARTITION_COUNT : Number(count);

/**
 * Disk space of each stream of a local cloud unless `NATS_STREAM_BYTES_MAX` says otherwise, in bytes. NATS reserves it. 32 MiB hold
 * some 50,000 facts; a consumer that is further behind reads the feed of the source.
 */
const LOCAL_STREAM_BYTES_MAX = 32 * 2 ** 20;

/** The settings of the streams of a local cloud. @throws ConfigError */
export const localStreams = (env: Environment) => {
  const { natsStreamReplicas } = natsSpec;
  const bytesMax = env.NATS_STREAM_BYTES_MAX || String(LOCAL_STREAM_BYTES_MAX);
  const config = readConfig({ ...env, NATS_STREAM_BYTES_MAX: bytesMax }, { natsStreamReplicas, ...streamsSpec });
  return {
    replicas: config.natsStreamReplicas,
    bytesMax: config.natsStreamBytesMax,
    ageMaxMs: config.natsStreamAgeMaxMs,
  };
};

/**
 * Creates the streams of a local cloud, as the operator of its server.
 * @param env `NATS_STREAM_…` of docs/settings.md
 * @throws LauncherError that names the stream and says what to do
 */
export const createStreams = async (
  nats: Pick<Nats, 'access'>,
  env: Environment,
  system: { readonly services: readonly string[]; readonly namespace: string | undefined },
): Promise<void> => {
  const settings = { ...system, ...localStreams(env) };
  try {
    await ensureStreams(nats.access, settings, { clock: systemClock, patienceMs });
  } catch (error) {
    throw new LauncherError(error instanceof Error ? error.message : String(error), { cause: error });
  }
};

/** Deletes the streams of a cloud that will not run again. */
export const removeStreams = async (nats: Pick<Nats, 'connect'>, prefix: string): Promise<void> => {
  const connection = await nats.connect();
  try {
    await deleteStreams(connection, prefix);
  } finally {
    await connection.close();
  }
};
