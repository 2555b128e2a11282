import type { Socket } from 'node:net';
import type { Sql } from './connection.ts';

/** Runs work on a connection, with a time limit. @throws StoreUnavailable for everything but a definite response of the server */
export type UseConnection = <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;

/**
 * Closes a connection if nothing has arrived on it since the work began. Other work on that connection fails too, and the next
 * work opens a new one. Resolves when the connection is closed or was found alive.
 */
export type CloseIfSilent = () => Promise<void>;

/** Connections for one purpose. */
export interface Pool {
  readonly size: number;
  /** Connections in use, and pieces of work that wait behind another one on their connection. */
  load(): { readonly used: number; readonly waiting: number };
  /** Opens at most `count` connections in advance: otherwise the first work on each waits until the server has started a process. */
  connect(count: number): Promise<void>;
  /** Runs work on one connection. */
  use<T>(work: (sql: Sql, closeIfSilent: CloseIfSilent) => Promise<T>): Promise<T>;
  /** Closes them. @param timeout seconds that running work gets to end */
  end(timeout: number): Promise<void>;
}

/** Opens a driver pool of one connection. @param onSocket receives the socket of each connection that it makes */
export type OpenConnection = (onSocket: (socket: Socket) => void) => Sql;

/**
 * Opens a pool of `size` connections, each made on first use or by `connect`. Work goes to the first connection with the least
 * running work. So most of it runs where the server has planned its statements and filled its caches already; a round-robin
 * pool warms up every connection.
 */
export const openPool = (size: number, open: OpenConnection): Pool => {
  const connections = Array.from({ length: size }, () => new Connection(open));
  return {
    size,
    load: () => ({
      used: connections.filter(({ running }) => running > 0).length,
      waiting: connections.reduce((sum, { running }) => sum + Math.max(0, running - 1), 0),
    }),
    async connect(count) {
      await Promise.all(connections.slice(0, count).map(({ sql }) => sql`select`));
    },
    async use(work) {
      const connection = connections.reduce((best, one) => (one.running < best.running ? one : best));
      connection.running += 1;
      try {
        return await work(connection.sql, connection.watchSilence());
      } finally {
        connection.running -= 1;
      }
    },
    async end(timeout) {
      await Promise.all(connections.map(({ sql }) => sql.end({ timeout })));
    },
  };
};

class Connection {
  readonly sql: Sql;
  /** Pieces of work that run on it. */
  running = 0;
  #socket: Socket | undefined;

  constructor(open: OpenConnection) {
    this.sql = open((socket) => {
      this.#socket = socket;
    });
  }

  /** @returns closes the current connection, if nothing arrives on it from now on */
  watchSilence(): CloseIfSilent {
    const socket = this.#socket;
    const bytesBefore = socket?.bytesRead;
    return () =>
      new Promise((resolve) => {
        const isSilent = socket === this.#socket && socket?.bytesRead === bytesBefore;
        if (socket === undefined || socket.closed || !isSilent) return resolve();
        socket.once('close', () => resolve());
        socket.destroy();
      });
  }
}
