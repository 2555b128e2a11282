import { AsyncLocalStorage } from 'node:async_hooks';
import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { ChannelCredentials } from '@grpc/grpc-js';

type CreateConnector = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<CreateConnector>;

/** Given the socket that is made in the course of an attempt to connect: gRPC shows it to nobody before it is connected. */
const attempts = new AsyncLocalStorage<(socket: Socket) => void>();
let isListening = false;

/**
 * Gives up every connection made with these credentials on which nothing was heard in time. gRPC has no limit of its own: to a
 * machine that lost its power it tries for the two minutes that the system takes, and a process that stands still answers never,
 * while its system goes on accepting for it. Meanwhile gRPC asks nobody where the server is by now, and what ran there is long
 * elsewhere. Whoever is there speaks at once: it begins its side of TLS, or says what it takes.
 * @param limitMs from the making of the socket on
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
    // Called in a turn of its own, of which the socket is made next; what others make is not of this attempt.
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
      // Of a connection that ends before TLS has begun not every kind of credentials hears.
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
