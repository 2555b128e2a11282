import { type Clock, certificateProblem, failureLog, type Logger } from '@interlock/runtime';
import {
  type Authenticator,
  AuthorizationError,
  connect,
  type NatsConnection,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  PermissionViolationError,
} from '@nats-io/transport-node';

/** How a process connects to NATS. */
export interface NatsAccess {
  /** `nats://host:port` each. */
  readonly servers: readonly string[];
  /** Seed of the nkey (`SU…`) that identifies this process; without it the process connects anonymously. */
  readonly seed?: string;
  /**
   * PEM file with the authority of the servers; read at each connection. With it a connection starts with TLS (the servers have
   * `handshake_first`), `servers` must name every server, and neither a server nor a proxy can turn TLS off.
   */
  readonly caFile?: string;
  /** Prefix of the reply subjects, so that servers can restrict them; default `_INBOX`. */
  readonly inboxPrefix?: string;
}

/** Servers without credentials, for messages: `nats://user:password@host:port` becomes `host:port`. */
export const placesOf = (servers: readonly string[]): string =>
  servers.map((server) => server.replace(/^(?:[a-z]+:\/\/)?(?:.*@)?/i, '')).join(', ');

const SECOND_MS = 1_000;
/** Between two attempts at the first connection. */
const RETRY_MS = 500;

/**
 * Connects, retries while no server responds, and reconnects whenever the connection is lost. At the first connection two problems
 * end the retries: servers that do not know this process, and an untrusted certificate. Later they are retried too, because servers
 * may be replaced and certificates renewed.
 * @param signal ends the wait for a first connection
 * @throws Error that names the setting to check
 */
export const connectNats = async (
  access: NatsAccess,
  parts: { readonly clock: Clock; readonly log?: Logger | undefined; readonly signal?: AbortSignal | undefined },
): Promise<NatsConnection> => {
  const { clock, log, signal } = parts;
  const options = optionsFor(access);
  const attempts = log && failureLog({ log, clock, failing: 'waiting for NATS', back: 'NATS is reached' });
  for (;;) {
    try {
      const connection = await connect(options);
      attempts?.succeeded();
      if (log) void logRefusals(connection, log);
      return connection;
    } catch (error) {
      const refusal = refusalIn(error, access);
      if (refusal !== undefined) throw new Error(refusal, { cause: error });
      if (signal?.aborted) throw error;
      attempts?.failed(error, { servers: placesOf(access.servers) });
      await clock.sleep(RETRY_MS, signal);
    }
  }
};

/** @throws Error for an invalid seed */
const optionsFor = ({ servers, seed, caFile, inboxPrefix }: NatsAccess): NodeConnectionOptions => ({
  servers: [...servers],
  reconnectTimeWait: 200,
  reconnectJitter: 100,
  pingInterval: 10 * SECOND_MS,
  maxReconnectAttempts: -1,
  ignoreAuthErrorAbort: true,
  ...(seed === undefined ? {} : { authenticator: authenticatorOf(seed) }),
  // Servers announce each other by addresses, which no certificate contains: only the configured servers are used.
  ...(caFile === undefined ? {} : { tls: { caFile, handshakeFirst: true }, ignoreClusterUpdates: true }),
  ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
});

const authenticatorOf = (seed: string): Authenticator => {
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  try {
    // Signs a text, so that an invalid seed fails here and not as a connection that never succeeds.
    authenticator('nonce');
  } catch (cause) {
    throw new Error('NATS_SEED_FILE does not contain the seed of an nkey (SU…)', { cause });
  }
  return authenticator;
};

/** A problem that waiting does not resolve, with the setting to check; undefined for others. */
const refusalIn = (error: unknown, { seed, caFile }: NatsAccess): string | undefined => {
  const problem = certificateProblem(error);
  if (problem !== undefined)
    return `the certificate of the NATS server is not trusted: ${problem}; check NATS_CA_FILE (${caFile})`;
  if (!(error instanceof AuthorizationError)) return undefined;
  return seed === undefined
    ? 'the NATS server requires authentication: set NATS_SEED_FILE'
    : 'the NATS server does not know the nkey of NATS_SEED_FILE';
};

/** The server reports a missing permission separately from the call, which only gets no response. */
const logRefusals = async (connection: NatsConnection, log: Logger): Promise<void> => {
  const logged = new Set<string>();
  for await (const status of connection.status()) {
    if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue;
    const { operation, subject } = status.error;
    // Every attempt causes the same error; it is logged once.
    if (logged.has(`${operation} ${subject}`)) continue;
    logged.add(`${operation} ${subject}`);
    log.error('NATS does not permit that', { operation, subject });
  }
};
