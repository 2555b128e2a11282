import { connect, isIP, type Socket } from 'node:net';
import type { Renewed } from '@interlock/runtime';
import postgres from 'postgres';

/** A pool of connections to one database. */
export type Sql = postgres.Sql<{ bigint: number }>;

/** Default time after which the server ends a transaction. */
export const TRANSACTION_TIMEOUT_MS = 10_000;

/**
 * Longest wait between two attempts to connect, in seconds. The driver's default is up to 20 s, and queries wait with it. So after
 * the database is back, a revocation would wait too.
 */
const RECONNECT_MAX_S = 0.5;

/** Limits of one pool. */
export interface ConnectionOptions {
  /** Most connections at once; default 10. */
  readonly maxConnections?: number;
  /** Time after which the server ends a transaction, so that a paused process cannot hold the head's lock; default 10 s. */
  readonly transactionTimeoutMs?: number;
  /** Longest wait for a lock; default 5 s. */
  readonly lockTimeoutMs?: number;
  /** Settings of the server for these connections. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Whether each new connection first reads the server's array types, as the driver does by default: a round trip that only
   * array parameters need.
   */
  readonly fetchTypes?: boolean;
  /**
   * Authorities of the server, PEM. With them connections use TLS, and the server must present a certificate of theirs for the
   * host of the URL (`sslmode=verify-full`). Each connection uses the current ones.
   */
  readonly authorities?: Renewed<string>;
  /** Receives the socket of each TCP connection. */
  readonly onSocket?: (socket: Socket) => void;
}

/**
 * For connections that only commit: every statement is planned once, and every join is a look-up for each record, also in plans
 * made while the tables were empty.
 */
export const COMMIT_SETTINGS = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  jit: 'off',
};

/**
 * Opens a pool (connections are made on first use). Positions come back as numbers: they stay below 2^53. A TCP
 * connection has Nagle's algorithm off, or every statement larger than one packet would wait for a delayed
 * acknowledgement (40 ms).
 * @param url `postgres://user@host:port/database`, or with `?host=/folder/of/the/socket` over a unix socket
 * @throws Error for an `sslmode` that contradicts `authorities`
 */
export const openConnections = (url: string, options: ConnectionOptions = {}): Sql => {
  const socketFolder = new URL(url).searchParams.get('host');
  const overTcp = socketFolder === null || !socketFolder.startsWith('/');
  const target = new URL(url);
  if (!overTcp) target.searchParams.delete('host');
  checkMode(target.searchParams.get('sslmode'), options.authorities !== undefined);
  target.searchParams.delete('sslmode');
  const settings = {
    max: options.maxConnections ?? 10,
    backoff: (attempts: number) => Math.min(3 ** attempts / 100, RECONNECT_MAX_S),
    onnotice: () => {},
    fetch_types: options.fetchTypes ?? true,
    types: {
      bigint: {
        to: 20,
        from: [20],
        parse: (text: string) => Number(text),
        serialize: (value: number) => String(value),
      },
    },
    connection: {
      ...options.settings,
      application_name: 'interlock',
      transaction_timeout: options.transactionTimeoutMs ?? TRANSACTION_TIMEOUT_MS,
      idle_in_transaction_session_timeout: options.transactionTimeoutMs ?? TRANSACTION_TIMEOUT_MS,
      lock_timeout: options.lockTimeoutMs ?? 5_000,
    },
  };
  if (!overTcp) {
    return postgres(target.href, {
      ...settings,
      host: socketFolder,
      path: `${socketFolder}/.s.PGSQL.${target.port || '5432'}`,
    });
  }
  // Passed on before it is connected, so that the driver sees a refused connection.
  const socket = () => {
    const made = connect({ host: target.hostname, port: Number(target.port || '5432'), noDelay: true });
    options.onSocket?.(made);
    return made;
  };
  const { authorities } = options;
  const ssl = authorities && tlsTo(target.hostname, authorities);
  return postgres(target.href, { ...settings, ...(ssl === undefined ? {} : { ssl }), socket } as typeof settings);
};

/** The other modes of Postgres do not verify the server, or do not encrypt. */
const checkMode = (mode: string | null, hasAuthorities: boolean): void => {
  const isAgreed = hasAuthorities ? mode === null || mode === 'verify-full' : mode === null || mode === 'disable';
  if (isAgreed) return;
  throw new Error(
    `sslmode=${mode} ${hasAuthorities ? 'contradicts' : 'needs'} DATABASE_CA_FILE: use verify-full with it, or disable without it`,
  );
};

/** Read by the driver at each connection it makes, the authorities through their getter. */
const tlsTo = (host: string, authorities: Renewed<string>) => ({
  host,
  ...(isIP(host) ? {} : { servername: host }),
  get ca() {
    return authorities.current();
  },
});
