import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import type { Sql } from './connection.ts';

/** A proxy that cuts each connection after some pieces of data. */
export interface CuttingProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Cuts no more connections. */
  calm(): void;
  /** Closes the proxy and every connection. */
  close(): void;
}

/** Most pieces of data, in both directions together, before a connection is cut: some end while they open, some in a query. */
const PIECES_MAX = 60;

/** Starts a proxy. By pieces and not by time: however slow the machine is, some connections open and some queries are cut. */
export const startCuttingProxy = async (host: string, port: number): Promise<CuttingProxy> => {
  const clients = new Set<Socket>();
  let isCalm = false;
  const cut = (client: Socket): void => {
    if (Math.random() < 0.5) client.resetAndDestroy();
    else client.destroy();
  };
  const proxy = await startProxy(host, port, (client, server) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    let left = 1 + Math.floor(Math.random() * PIECES_MAX);
    const count = (): void => {
      left -= 1;
      if (left === 0 && !isCalm) cut(client);
    };
    client.on('data', count);
    server.on('data', count);
  });
  return {
    port: proxy.port,
    calm() {
      isCalm = true;
    },
    close() {
      proxy.close();
      for (const client of clients) client.destroy();
    },
  };
};

/** A proxy whose connections can become silent without closing, as when the other machine loses power. */
export interface MutingProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Stops the data on all current connections; new connections work. */
  mute(): void;
  /** Closes the proxy and every connection. */
  close(): void;
}

/** Starts such a proxy. */
export const startMutingProxy = async (host: string, port: number): Promise<MutingProxy> => {
  const pairs: (readonly [Socket, Socket])[] = [];
  const proxy = await startProxy(host, port, (client, server) => pairs.push([client, server]));
  return {
    port: proxy.port,
    mute() {
      for (const [client, server] of pairs) {
        client.unpipe(server);
        server.unpipe(client);
      }
    },
    close() {
      proxy.close();
      for (const [client, server] of pairs) {
        client.destroy();
        server.destroy();
      }
    },
  };
};

/** Connects each client to the server. @param onConnection receives both sockets of each connection */
const startProxy = async (
  host: string,
  port: number,
  onConnection: (client: Socket, server: Socket) => void,
): Promise<{ readonly port: number; close(): void }> => {
  const proxy = createServer((client) => {
    const server = connect({ host, port, noDelay: true });
    client.setNoDelay(true);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
    onConnection(client, server);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  assert(address !== null && typeof address === 'object');
  return { port: address.port, close: () => void proxy.close() };
};

/** Error codes of queries on a cut connection. A connect timeout is not one of them. */
const lost = /^(CONNECTION_CLOSED|CONNECTION_DESTROYED|ECONNRESET|EPIPE)$/;

/** Queries that cuts interrupt in a test, of some 2,000 queries. */
const interruptedMin = 300;

/**
 * Runs six sequences of queries until connections were cut in 300 of them, and checks that each query gets its own result or a
 * connection error.
 * @throws AssertionError for the result of another query, any other error, and if no query succeeded
 */
export const askThroughCuts = async (sql: Sql): Promise<void> => {
  let answered = 0;
  let failed = 0;
  const ask = async (first: number): Promise<void> => {
    for (let value = first; failed < interruptedMin; value += 1) {
      const rows = await sql<{ value: number }[]>`select ${value}::int as value`.catch(
        (error: Error & { code?: string }) => {
          assert.match(error.code ?? '', lost, error.message);
          return undefined;
        },
      );
      if (rows === undefined) failed += 1;
      else {
        assert.deepEqual([...rows], [{ value }]);
        answered += 1;
      }
    }
  };
  await Promise.all([1, 2, 3, 4, 5, 6].map((million) => ask(million * 1_000_000)));
  assert(answered > 0, `none of the queries succeeded, ${failed} failed`);
};
