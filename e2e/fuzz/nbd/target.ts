import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { exportNameOf } from '../../../services/disk/src/host/nbd/negotiation.ts';
import { Reader } from '../../../services/disk/src/host/nbd/reader.ts';
import { option, optionReply } from '../../../services/disk/src/host/nbd/wire.ts';
import { clientFlags, counted, optionFrame } from './frames.ts';

/** Where a disk host serves NBD, and a disk there. It crosses threads. */
export interface NbdTarget {
  readonly address:
    | { readonly path: string }
    | { readonly host: string; readonly port: number; readonly localAddress?: string };
  /** PEM texts, over TCP. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | undefined;
  readonly disk: string;
  readonly accessToken: string;
  /** Bytes. */
  readonly size: number;
}

/** The export name of the target's disk. */
export const exportOf = ({ disk, accessToken }: NbdTarget): string => exportNameOf(disk, accessToken);

/** A connection before anything was sent. Errors of it are no problem: the server may end it at any time. */
export const opened = async ({ address }: NbdTarget): Promise<Socket> => {
  const socket = connect(address);
  socket.on('error', () => undefined);
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined);
  return socket;
};

/** A connection over TLS, after the greeting and STARTTLS. On a Unix socket: after the greeting. */
export const secured = async (
  target: NbdTarget,
  shown: { readonly cert: string; readonly key: string } | undefined = target.tls,
): Promise<Socket> => {
  const socket = await opened(target);
  const reader = new Reader(socket);
  if ((await reader.take(18)) === undefined) return socket.destroy();
  socket.write(clientFlags(3));
  if (target.tls === undefined) {
    reader.release();
    return socket;
  }
  socket.write(optionFrame(option.startTls));
  const reply = await reader.take(20);
  reader.release();
  if (reply === undefined) return socket.destroy();
  const { ca } = target.tls;
  const stream = connectTls({ socket, ca, servername: 'localhost', cert: shown?.cert, key: shown?.key });
  stream.on('error', () => undefined);
  stream.once('close', () => socket.destroy());
  await Promise.race([once(stream, 'secureConnect'), once(socket, 'close')]).catch(() => undefined);
  return stream;
};

/** Sends GO for the disk, and reads the replies. @returns false if the server refused it, or ended the connection */
export const negotiated = async (socket: Socket, target: NbdTarget, isStructured: boolean): Promise<boolean> => {
  const reader = new Reader(socket);
  try {
    if (isStructured) {
      socket.write(optionFrame(option.structuredReply));
      if ((await reader.take(20)) === undefined) return false;
    }
    socket.write(optionFrame(option.go, Buffer.concat([counted(exportOf(target)), Buffer.alloc(2)])));
    for (;;) {
      const head = await reader.take(20);
      if (head === undefined) return false;
      const [kind, length] = [head.readUInt32BE(12), head.readUInt32BE(16)];
      if (length > 0 && (await reader.take(length)) === undefined) return false;
      if (kind === optionReply.ack) return true;
      if (kind >= 2 ** 31) return false;
    }
  } finally {
    reader.release();
  }
};
