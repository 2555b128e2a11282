import { chmod, chown, unlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import type { Certificates } from '@interlock/rpc';
import type { NbdAddress } from './address.ts';
import type { NbdListener } from './door.ts';

/**
 * A listener for an address. A Unix socket is for the user of this process alone (mode 0600), or for a group as well (0660).
 * @param certificates those of this host now; its clients need one of `clientCa`, otherwise of `ca`
 * @param socketGroup id of the group; its processes need the access token of a disk as all clients do
 * @throws Error if `certificates` is plain text and the address is TCP
 */
export const nbdListener = (
  address: NbdAddress,
  certificates: (() => Promise<Certificates>) | 'plaintext',
  socketGroup?: number,
): NbdListener => {
  if (address.kind === 'tls' && certificates === 'plaintext') throw new Error('NBD over TCP needs TRANSPORT=tls');
  const server = createServer({ noDelay: true, highWaterMark: 256 * 1024 });
  const startTls =
    certificates === 'plaintext' ? undefined : async (stream: Duplex) => secured(stream, await certificates());
  return {
    async listen(accept) {
      server.on('connection', (socket) => accept(socket, address.kind === 'tls' ? startTls : undefined));
      if (address.kind === 'unix') await unlink(address.path).catch(ignoreMissing);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      server.once('error', reject);
      if (address.kind === 'unix') server.listen(address.path, resolve);
      else server.listen(address.port, address.host, resolve);
      await promise;
      if (address.kind !== 'unix') return;
      if (socketGroup !== undefined) await chown(address.path, -1, socketGroup);
      await chmod(address.path, socketGroup === undefined ? 0o600 : 0o660);
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
};

/** TLS over a connection that has begun. @throws Error if the client shows no certificate of a trusted authority */
const secured = (socket: Duplex, { certificate, key, ca, clientCa }: Certificates): Promise<Duplex> => {
  const server = createTlsServer({
    cert: certificate,
    key,
    ca: clientCa ?? ca,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  });
  return new Promise((resolve, reject) => {
    server.once('secureConnection', resolve).once('tlsClientError', reject);
    socket.once('close', () => reject(new Error('the client left during the TLS handshake')));
    server.emit('connection', socket);
  });
};

const ignoreMissing = (error: unknown): void => {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
};
