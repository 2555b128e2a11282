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
 * Creates the streams of a local cloud, as the operator of its server.
 * @param env `NATS_STREAM_…` of docs/settings.md
 * @throws LauncherError that names the stream and says what to do
 */
export const createStreams = async (
  nats: Pick<Nats, 'access'>,
  env: Environment,
  system: { readonly services: readonly string[]; readonly namespace: string | undefined },
): Promise<void> => {
  const { natsStreamReplicas } = natsSpec;
  const config = readConfig(env, { natsStreamReplicas, ...streamsSpec });
  const settings = {
    ...system,
    replicas: config.natsStreamReplicas,
    bytesMax: config.natsStreamBytesMax,
    ageMaxMs: config.natsStreamAgeMaxMs,
  };
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
