import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { makeAuthority, makeServer, pemOf } from '@interlock/local/certificates.ts';
import { freePort } from '@interlock/local/free-port.ts';
import { createScope, logger, systemClock, systemRandom } from '@interlock/runtime';
import { createNoopMeter, trace } from '@opentelemetry/api';
import type { CloudNames } from '../../services/gateway/src/cloud/names.ts';
import { listenOn } from '../../services/gateway/src/http/listen.ts';
import type { Admit, Route } from '../../services/gateway/src/http/route.ts';
import { buildServer, type ServerLimits, type ServerParts } from '../../services/gateway/src/http/server.ts';

/** The gateway's HTTPS server with some routes and no cloud behind it, for tests of slow and greedy clients. */
export interface GatewayServer {
  readonly port: number;
  /** The server itself. */
  readonly server: Awaited<ReturnType<typeof buildServer>>;
  /** Opens a connection and completes its handshake. @param host default 127.0.0.1 */
  open(host?: string): Promise<Client>;
  /** Connections that the server has. */
  connections(): Promise<number>;
}

/** A connection of a client that decides itself what it sends and reads. */
export interface Client {
  readonly socket: TLSSocket;
  /** All that was received. */
  readonly received: () => string;
  /** Resolves when the connection has ended. */
  readonly closed: Promise<unknown>;
}

/** Limits that no test reaches unless it lowers them. */
const limits: ServerLimits = {
  requestMs: 60_000,
  idleMs: 60_000,
  connectionsMax: 1_000,
  connectionsOfAddressMax: 1_000,
  bodiesBytesMax: 32 * 1024 * 1024,
};

/** The system's clock with alarms that ring 20 times as early: what waits some seconds waits some hundred milliseconds. */
export const hastyClock = { ...systemClock, alarm: (ms: number, wake: () => void) => systemClock.alarm(ms / 20, wake) };

/** Serves the routes until the test ends. */
export const gatewayServer = async (
  t: TestContext,
  routes: readonly Route[],
  given: Partial<ServerLimits> & { readonly admit?: Admit; readonly clock?: ServerParts['clock'] } = {},
): Promise<GatewayServer> => {
  const { admit, clock = systemClock, ...some } = given;
  const port = await freePort();
  const scope = createScope();
  const sockets = new Set<TLSSocket>();
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await scope.close();
  });
  const now = Date.now();
  const { certificate: cert, key } = await pemOf(
    await makeServer(await makeAuthority(now), now, { dns: ['localhost'], ip: ['127.0.0.1', '::1'] }),
  );
  const server = await buildServer({
    routes,
    names: { gateway: `https://localhost:${port}`, vaultSuffix: `vault.interlock.localhost:${port}` } as CloudNames,
    admit: admit ?? (() => Promise.reject(new Error('these routes need no token'))),
    random: systemRandom,
    log: logger({ service: 'gateway', clock: systemClock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    meter: createNoopMeter(),
    clock,
    tls: { cert, key },
    limits: { ...limits, ...some },
  });
  await listenOn(
    server,
    { host: 'localhost', port },
    { scope, clock: systemClock, variable: 'GATEWAY_ADDRESS', isShared: false },
  );
  return {
    port,
    server,
    open: (host = '127.0.0.1') => open(sockets, { host, port, servername: 'localhost', rejectUnauthorized: false }),
    connections: () =>
      new Promise((resolve, reject) => {
        server.server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      }),
  };
};

const open = async (sockets: Set<TLSSocket>, options: ConnectionOptions): Promise<Client> => {
  const socket = connect(options);
  sockets.add(socket);
  let text = '';
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined);
  const refused = closed.then(() => Promise.reject(new Error('the gateway closed the connection')));
  await Promise.race([once(socket, 'secureConnect'), refused]);
  socket.setEncoding('latin1').on('data', (part: string) => {
    text += part;
  });
  return { socket, received: () => text, closed };
};
