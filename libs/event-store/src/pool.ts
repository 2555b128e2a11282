import type { Socket } from 'node:net';
import type { Sql } from './connection.ts';

/** Does some work on a connection and waits for the answer, but not for ever. @throws StoreUnavailable for anything that is not the server's definite word */
export type Reaching = <T>(work: (sql: Sql) => Promise<T>) => Promise<T>;

/**
 * Gives a connection up, if nothing has come back on it since its work began: what else is under way there then fails as well, and what
 * comes next is done on a new one. Resolves when that is so.
 */
export type GiveUpIfSilent = () => Promise<void>;

/** Connections that serve one purpose. */
export interface Lanes {
  readonly count: number;
  /** Opens connections beforehand: the first work of each would wait for its process to be started. @param count at most so many */
  connect(count: number): Promise<void>;
  /** Does some work on one connection. */
  use<T>(work: (sql: Sql, giveUpIfSilent: GiveUpIfSilent) => Promise<T>): Promise<T>;
  /** Closes them. @param timeout seconds that work under way is given to end */
  end(timeout: number): Promise<void>;
}

/** Opens a pool of one connection. @param onSocket told the socket of each connection it makes */
export type OpenLane = (onSocket: (socket: Socket) => void) => Sql;

/**
 * Opens so many connections, made on first use or by `connect`. The first one that is free gets the work, so that most of it is done
 * where the server has planned its statements and filled its caches already: a pool that takes turns has every
 * connection learn everything. When none is free, work lines up where the least is under way.
 */
export const openLanes = (count: number, open: OpenLane): Lanes => {
  const lanes = Array.from({ length: count }, () => openLane(open));
  return {
    count,
    async connect(some) {
      await Promise.all(lanes.slice(0, some).map(({ sql }) => sql`select`));
    },
    async use(work) {
      const lane = lanes.reduce((best, one) => (one.underWay < best.underWay ? one : best));
      lane.underWay += 1;
      try {
        return await work(lane.sql, lane.listen());
      } finally {
        lane.underWay -= 1;
      }
    },
    async end(timeout) {
      await Promise.all(lanes.map(({ sql }) => sql.end({ timeout })));
    },
  };
};

const openLane = (open: OpenLane) => {
  let newest: Socket | undefined;
  const sql = open((socket) => {
    newest = socket;
  });
  return {
    sql,
    underWay: 0,
    /** @returns ends the connection there is now, if nothing comes back on it from now on */
    listen: (): GiveUpIfSilent => {
      const [socket, heard] = [newest, newest?.bytesRead];
      return () =>
        new Promise((resolve) => {
          if (socket === undefined || socket.closed || socket !== newest || socket.bytesRead !== heard)
            return resolve();
          socket.once('close', () => resolve());
          socket.destroy();
        });
    },
  };
};
