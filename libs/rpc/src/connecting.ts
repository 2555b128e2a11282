import { AsyncLocalStorage } from 'node:async_hooks';
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { ChannelCredentials } from '@grpc/grpc-js';

type CreateConnector = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<CreateConnector>;

/** Receives the socket of a connection attempt: gRPC does not expose it before it is connected. */
const attempts = new AsyncLocalStorage<(socket: Socket) => void>();
let isListening = false;

/**
 * Closes every connection of these credentials on which the server sends nothing in time. gRPC has no such limit. After a
 * power loss of the server it waits two minutes for the TCP timeout. A paused process never responds, but its system still
 * accepts connections. During the wait gRPC does not resolve the address again, although the server may have moved.
 * A healthy server sends at once: its TLS handshake or its HTTP/2 settings.
 * @param limitMs since the socket was created
 */
export const limitConnecting = (credentials: ChannelCredentials, limitMs: number): ChannelCredentials => {
  if (!isListening) channel('net.client.socket').subscribe((message) => attempts.getStore()?.(socketIn(message)));
  isListening = true;
  const create: CreateConnector = (...parts) => limited(credentials._createSecureConnector(...parts), limitMs);
  return Object.create(credentials, { _createSecureConnector: { value: create } });
};

const socketIn = (message: unknown): Socket => (message as { readonly socket: Socket }).socket;

const limited = (connector: Connector, limitMs: number): Connector => ({
  waitForReady() {
    let isMade = false;
    // Runs in a turn of its own, which creates the socket next; sockets of other code are not of this attempt.
    attempts.enterWith((socket) => {
      if (isMade) return;
      isMade = true;
      const giveUp = (): void => {
        if (socket.bytesRead === 0) socket.destroy(new Error(`no connection came about within ${limitMs} ms`));
      };
      setTimeout(giveUp, limitMs).unref();
    });
    return connector.waitForReady();
  },
  connect: (socket) =>
    new Promise((resolve, reject) => {
      // Not every kind of credentials is notified if a connection ends before TLS has started.
      const ended = (): void => reject(socket.errored ?? new Error('the connection was closed'));
      socket.once('close', ended);
      connector
        .connect(socket)
        .finally(() => socket.off('close', ended))
        .then(resolve, reject);
    }),
  getCallCredentials: () => connector.getCallCredentials(),
  destroy: () => connector.destroy(),
});
