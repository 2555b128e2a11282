import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server } from 'node:tls';
import type { Certificates } from '@interlock/rpc';

/** Identifies a connection: the TLS server passes on its own object for it. A client may use one port for several addresses of this host. */
const originOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;

/** TLS over connections that have begun. One server, and so one set of parsed certificates, serves all of them until the certificates change. */
export class TlsHandshakes {
  readonly #secured = new Map<string, (stream: Socket) => void>();
  #current: { readonly server: Server; readonly certificates: Certificates } | undefined;

  /** @throws Error if the client shows no certificate of a trusted authority, or leaves; the connection is destroyed then */
  async start(socket: Socket, certificates: Certificates): Promise<Socket> {
    const origin = originOf(socket);
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const leave = (): void => reject(new Error('the client left during the TLS handshake'));
    if (socket.destroyed) throw new Error('the client left before the TLS handshake');
    socket.once('close', leave);
    this.#secured.set(origin, resolve);
    try {
      this.#serverWith(certificates).emit('connection', socket);
      return await promise;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      socket.off('close', leave);
      this.#secured.delete(origin);
    }
  }

  #serverWith(certificates: Certificates): Server {
    const { certificate, key, ca, clientCa } = certificates;
    const known = this.#current?.certificates;
    const isSame = known?.certificate === certificate && known.ca === ca && known.clientCa === clientCa;
    if (this.#current && isSame) return this.#current.server;
    const server = createServer({
      cert: certificate,
      key,
      ca: clientCa ?? ca,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      // Each connection shows its certificate: none resumes the session of an earlier one.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
    server.on('secureConnection', (stream) => {
      stream.on('error', () => undefined);
      const secured = this.#secured.get(originOf(stream));
      if (secured) secured(stream);
      else stream.destroy();
    });
    // The connection of a failed handshake is destroyed: `start` notices that.
    server.on('tlsClientError', (_, stream) => stream.destroy());
    this.#current = { server, certificates };
    return server;
  }
}
