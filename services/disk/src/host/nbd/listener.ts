import { chmod, chown, unlink } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import type { Certificates } from '@interlock/rpc';
import type { NbdAddress } from './address.ts';
import type { NbdListener } from './door.ts';
import { TlsHandshakes } from './tls-handshakes.ts';

/** Most bytes of a connection that are received or sent ahead. */
const aheadBytes = 64 * 1024;

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
  const server = createServer({ noDelay: true, highWaterMark: aheadBytes });
  const handshakes = new TlsHandshakes();
  const startTls =
    certificates === 'plaintext' || address.kind !== 'tls'
      ? undefined
      : (socket: Socket) => async () => handshakes.start(socket, await certificates());
  return {
    async listen(accept) {
      server.on('connection', (socket) =>
        accept(socket, { startTls: startTls?.(socket), address: socket.remoteAddress }),
      );
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

const ignoreMissing = (error: unknown): void => {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
};
