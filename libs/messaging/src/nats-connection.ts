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

/** How NATS servers are reached. */
export interface NatsAccess {
  /** `nats://host:port` each. */
  readonly servers: readonly string[];
  /** Seed of the nkey (`SU…`) the servers know this process by; without it nothing is shown. */
  readonly seed?: string;
  /**
   * PEM file with the authority of the servers; read at each connection. With it a connection begins with TLS (the servers
   * have `handshake_first`), every server has to be named in `servers`, and neither a server nor whoever is in between can talk it out of that.
   */
  readonly caFile?: string;
  /** Begins the subjects on which answers come, so that servers can keep those of others away; `_INBOX` unless said. */
  readonly inboxPrefix?: string;
}

/** Servers in a form fit for a message: `nats://user:password@host:port` as `host:port`, whatever the password has in it. */
export const placesOf = (servers: readonly string[]): string =>
  servers.map((server) => server.replace(/^(?:[a-z]+:\/\/)?(?:.*@)?/i, '')).join(', ');

const SECOND_MS = 1_000;
/** Between two attempts at the first connection. */
const RETRY_MS = 500;

/**
 * Connects, for as long as nobody answers, and again whenever the connection is lost. What is no matter of time ends the
 * first attempt: servers that do not know us, or that show a certificate we do not trust. Later on, when servers are replaced
 * or a certificate is renewed, it passes.
 * @param signal ends the wait for a first connection
 * @throws Error saying which setting to look at
 */
export const connectNats = async (
  access: NatsAccess,
  parts: { readonly clock: Clock; readonly log?: Logger | undefined; readonly signal?: AbortSignal | undefined },
): Promise<NatsConnection> => {
  const { clock, log, signal } = parts;
  const options = optionsFor(access);
  const attempts = log && failureLog({ log, clock, failing: 'waiting for NATS', back: 'NATS is there' });
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

/** @throws Error for a seed that is none */
const optionsFor = ({ servers, seed, caFile, inboxPrefix }: NatsAccess): NodeConnectionOptions => ({
  servers: [...servers],
  reconnectTimeWait: 200,
  reconnectJitter: 100,
  pingInterval: 10 * SECOND_MS,
  maxReconnectAttempts: -1,
  ignoreAuthErrorAbort: true,
  ...(seed === undefined ? {} : { authenticator: authenticatorOf(seed) }),
  // Servers tell of each other by addresses, which are in no certificate: those that were named are all there are.
  ...(caFile === undefined ? {} : { tls: { caFile, handshakeFirst: true }, ignoreClusterUpdates: true }),
  ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
});

const authenticatorOf = (seed: string): Authenticator => {
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  try {
    // Signs something, so that a seed that is none shows now and not as a connection that never comes about.
    authenticator('nonce');
  } catch (cause) {
    throw new Error('NATS_SEED_FILE holds no seed of an nkey (SU…)', { cause });
  }
  return authenticator;
};

/** Why waiting would not help, in words that name the setting; undefined where it might. */
const refusalIn = (error: unknown, { seed, caFile }: NatsAccess): string | undefined => {
  const problem = certificateProblem(error);
  if (problem !== undefined)
    return `the certificate of the NATS server is not trusted: ${problem}; look at NATS_CA_FILE (${caFile})`;
  if (!(error instanceof AuthorizationError)) return undefined;
  return seed === undefined
    ? 'the NATS server wants to know who we are: NATS_SEED_FILE is not set'
    : 'the NATS server does not know the nkey of NATS_SEED_FILE';
};

/** What a server does not let us do is told apart from the call that tried it, which only never hears an answer. */
const logRefusals = async (connection: NatsConnection, log: Logger): Promise<void> => {
  const told = new Set<string>();
  for await (const status of connection.status()) {
    if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue;
    const { operation, subject } = status.error;
    // The same again and again, for as long as it is tried: once is enough.
    if (told.has(`${operation} ${subject}`)) continue;
    told.add(`${operation} ${subject}`);
    log.error('NATS does not permit that', { operation, subject });
  }
};
