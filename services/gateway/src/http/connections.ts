import { createServer, type Server, type Socket } from 'node:net';
import type { Clock, Logger } from '@interlock/runtime';
import { clientOf } from './client-address.ts';

/** Most connections of a server. */
export interface ConnectionLimits {
  readonly connectionsMax: number;
  /** Of one client address. */
  readonly connectionsOfAddressMax: number;
}

/** Refusals are logged once in this time, in milliseconds. */
const logEveryMs = 60_000;

/**
 * Closes connections above the limits before the server spends anything on them, such as the state of TLS. Call it before the server
 * listens.
 */
export const limitConnections = (
  server: Server,
  { connectionsMax, connectionsOfAddressMax }: ConnectionLimits,
  { clock, log }: { readonly clock: Pick<Clock, 'monotonicMs'>; readonly log: Logger },
): void => {
  const ofAddress = new Map<string, number>();
  let open = 0;
  let refused = 0;
  let loggedMs = Number.NEGATIVE_INFINITY;
  const refuse = (socket: Socket, client: string): void => {
    socket.destroy();
    refused += 1;
    if (clock.monotonicMs() - loggedMs < logEveryMs) return;
    loggedMs = clock.monotonicMs();
    log.warn('connections refused', { client, ofClient: ofAddress.get(client) ?? 0, open, refused });
    refused = 0;
  };
  const handlers = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const client = clientOf(socket.remoteAddress ?? '');
    const own = ofAddress.get(client) ?? 0;
    if (open >= connectionsMax || own >= connectionsOfAddressMax) {
      refuse(socket, client);
      return;
    }
    open += 1;
    ofAddress.set(client, own + 1);
    socket.once('close', () => {
      open -= 1;
      const left = (ofAddress.get(client) ?? 0) - 1;
      if (left > 0) ofAddress.set(client, left);
      else ofAddress.delete(client);
    });
    for (const handler of handlers) Reflect.apply(handler, server, [socket]);
  });
};

/**
 * Listens on `::1` too, for a server that listens on 127.0.0.1, so that both are one server: one set of limits, one certificate.
 * @returns what ends it when its connections have ended; undefined on a machine without IPv6
 * @throws Error if the port is in use there
 */
export const listenOnIpv6Loopback = async (
  server: Server & { readonly allowHalfOpen?: boolean },
  options: { readonly port: number; readonly reusePort: boolean },
): Promise<(() => Promise<void>) | undefined> => {
  const second = createServer({ allowHalfOpen: server.allowHalfOpen === true, noDelay: true });
  second.on('connection', (socket) => server.emit('connection', socket));
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  second.once('error', reject);
  second.listen({ ...options, host: '::1' }, resolve);
  try {
    await promise;
    return () => new Promise((ended) => second.close(() => ended()));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT') return undefined;
    throw error;
  }
};
