import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import { type NatsConnection, nanos } from '@nats-io/transport-node';
import { connectNats, type NatsAccess } from './nats-connection.ts';
import { streamOf, subjectsOf } from './subjects.ts';

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

/** How long a fact stays in its stream by default; older ones are read from their source. */
export const STREAM_AGE_MAX_DEFAULT_MS = 24 * HOUR_MS;
/** Disk space of one service's stream by default. */
export const STREAM_BYTES_MAX_DEFAULT = 1024 ** 3;
/** How long the server recognises a message id. No guarantee depends on it. */
const DUPLICATE_WINDOW_MS = 120 * SECOND_MS;
/** Longest wait for the response to a stream request. A cluster elects a leader for the stream first. */
const REQUEST_MS = 10 * SECOND_MS;
/** Pause between two attempts. */
const RETRY_MS = 2 * SECOND_MS;

/** Error code of JetStream for a stream that exists with another configuration. */
const CONFIGURED_OTHERWISE = 10058;
/** Error code of JetStream for more copies than it knows servers. */
const TOO_FEW_SERVERS = 10005;
/** Error code of JetStream when it cannot reserve the space of a stream. */
const NO_ROOM = 10047;

/** Settings of an operator for the streams of a system. */
export interface StreamSettings {
  /** Services that publish: one stream each. */
  readonly services: readonly string[];
  /** Copies of each stream in a cluster; default 1. */
  readonly replicas?: number | undefined;
  /** Disk space that the server reserves for each stream; when it is full the oldest messages are dropped. Default 1 GiB. */
  readonly bytesMax?: number | undefined;
  /** How long messages stay at most, in milliseconds; consumers read older facts from their source. Default 24 hours. */
  readonly ageMaxMs?: number | undefined;
  /** Prefix of the names of streams and subjects: separates several systems on one server. Letters, digits and `_`. */
  readonly namespace?: string | undefined;
}

/** Name of the stream of a service on the server. */
export const streamNameIn = (namespace: string | undefined, stream: string): string =>
  namespace ? `${namespace}_${stream}` : stream;

/** Name of a subject on the server. */
export const subjectNameIn = (namespace: string | undefined, subject: string): string =>
  namespace ? `${namespace}.${subject}` : subject;

/** The configuration of one service's stream. Everything else is off: no sources, no mirror, no republishing. */
const configOf = (service: string, settings: StreamSettings): Partial<StreamConfig> & { readonly name: string } => {
  const { replicas = 1, bytesMax = STREAM_BYTES_MAX_DEFAULT, ageMaxMs = STREAM_AGE_MAX_DEFAULT_MS } = settings;
  return {
    name: streamNameIn(settings.namespace, streamOf(service)),
    subjects: [subjectNameIn(settings.namespace, subjectsOf(service))],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_age: nanos(ageMaxMs),
    max_bytes: bytesMax,
    // The server refuses a window that is longer than the age limit.
    duplicate_window: nanos(Math.min(DUPLICATE_WINDOW_MS, ageMaxMs)),
    num_replicas: replicas,
  };
};

/**
 * Creates the stream of each service, or updates an existing one to this configuration. Only an operator may do that: a service that
 * can update its stream could republish its messages on the subjects of another service, or copy another stream into its own.
 * Idempotent, also when two processes do it at the same time.
 * @param parts.patienceMs how long failures are retried; 0 makes one attempt
 * @throws Error that names the stream and what to do, after `patienceMs`; a refused connection at once (see `connectNats`)
 */
export const ensureStreams = async (
  access: NatsAccess,
  settings: StreamSettings,
  parts: {
    readonly clock: Clock;
    readonly patienceMs: number;
    readonly log?: Logger | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<void> => {
  const { clock, patienceMs, log, signal } = parts;
  const untilMs = clock.monotonicMs() + patienceMs;
  const attempts =
    log && failureLog({ log, clock, failing: 'streams are not as they should be', back: 'streams are created' });
  const connection = await connectNats(access, { clock, log, signal });
  try {
    for (;;) {
      try {
        for (const service of settings.services) await ensureStream(connection, configOf(service, settings));
        attempts?.succeeded();
        return;
      } catch (error) {
        if (signal?.aborted || clock.monotonicMs() + RETRY_MS > untilMs) throw error;
        attempts?.failed(error);
        await clock.sleep(RETRY_MS, signal);
      }
    }
  } finally {
    await connection.close();
  }
};

const ensureStream = async (connection: NatsConnection, config: ReturnType<typeof configOf>): Promise<void> => {
  // Not through the library: its update keeps settings of the stream that the configuration does not name.
  const attempt = async (verb: 'CREATE' | 'UPDATE') => {
    const body = JSON.stringify(config);
    const answer = await connection.request(`$JS.API.STREAM.${verb}.${config.name}`, body, { timeout: REQUEST_MS });
    return answer.json<{ error?: ApiError }>().error;
  };
  const refused = await attempt('CREATE').catch((cause: unknown) => {
    throw new Error(`NATS did not respond to the request to create stream ${config.name}`, { cause });
  });
  const error = refused?.err_code === CONFIGURED_OTHERWISE ? await attempt('UPDATE') : refused;
  if (error !== undefined) throw new Error(problemOf(error, config));
};

interface ApiError {
  readonly err_code?: number;
  readonly description?: string;
}

const problemOf = (
  { err_code, description }: ApiError,
  { name, max_bytes, num_replicas }: ReturnType<typeof configOf>,
): string => {
  if (err_code === NO_ROOM) {
    return (
      `the NATS server has no room for stream ${name}, which reserves ${max_bytes} bytes: give JetStream more space, ` +
      'delete streams that are not needed, or lower NATS_STREAM_BYTES_MAX'
    );
  }
  if (err_code === TOO_FEW_SERVERS) {
    return (
      `stream ${name} needs ${num_replicas} copies (NATS_STREAM_REPLICAS) and JetStream knows fewer servers ` +
      `(${description}): start the missing server; if all servers run, restart the one that is not in the metadata group`
    );
  }
  return `NATS refuses stream ${name}: ${description ?? 'without a reason'}`;
};

/** Deletes every stream whose name starts with the prefix, with its messages and consumers. */
export const deleteStreams = async (connection: NatsConnection, prefix: string): Promise<void> => {
  // One response contains up to 1,024 names.
  for (;;) {
    const answer = await connection.request('$JS.API.STREAM.NAMES', JSON.stringify({ subject: '>' }));
    const { streams } = answer.json<{ streams: string[] | null }>();
    const matching = (streams ?? []).filter((name) => name.startsWith(prefix));
    if (matching.length === 0) return;
    for (const name of matching) await connection.request(`$JS.API.STREAM.DELETE.${name}`);
  }
};
