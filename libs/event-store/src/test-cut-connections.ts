import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import type { Sql } from './connection.ts';

/** A way to a server on which every connection is cut again and again. */
export interface CuttingProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** What is connected now stays connected. */
  calm(): void;
  /** Cuts everything and serves nobody any more. */
  close(): void;
}

/** Starts one. @param everyMs longer than it takes to connect, or nobody is ever answered */
export const startCuttingProxy = async (host: string, port: number, everyMs: number): Promise<CuttingProxy> => {
  const clients = new Set<Socket>();
  const proxy = await startProxy(host, port, (client) => {
    clients.add(client);
    client.on('close', () => clients.delete(client));
  });
  const cut = (): void => {
    for (const client of clients) Math.random() < 0.5 ? client.resetAndDestroy() : client.destroy();
  };
  const cutter = setInterval(cut, everyMs);
  return {
    port: proxy.port,
    calm: () => clearInterval(cutter),
    close() {
      clearInterval(cutter);
      proxy.close();
      cut();
    },
  };
};

/** A way to a server whose connections can fall silent without an end, as they do when the machine at the other end is gone. */
export interface MutingProxy {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Nothing passes any more on what is connected now; new connections are served. */
  mute(): void;
  /** Cuts everything and serves nobody any more. */
  close(): void;
}

/** Starts one. */
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

/** Serves whoever connects with a connection of its own to the server. @param onConnection told both ends of each */
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

/** What a cut connection ends a query with. Waiting until the time to connect is over is not among it. */
const lost = /^(CONNECTION_CLOSED|CONNECTION_DESTROYED|ECONNRESET|EPIPE)$/;

/**
 * Six who ask one thing after the other for a while, and see to it that each has its own answer or is told that its connection is lost.
 * @throws AssertionError for the answer of somebody else, any other failure, and where nobody was answered or nobody was cut off
 */
export const askThroughCuts = async (sql: Sql, forMs: number): Promise<void> => {
  let answered = 0;
  let failed = 0;
  const until = performance.now() + forMs;
  const ask = async (first: number): Promise<void> => {
    for (let value = first; performance.now() < until; value += 1) {
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
  assert(answered > 0 && failed > 0, `${answered} answered, ${failed} failed`);
};
