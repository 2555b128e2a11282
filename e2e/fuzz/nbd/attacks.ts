import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import type { SeededRandom } from '@interlock/runtime';
import { command, option } from '../../../services/disk/src/host/nbd/wire.ts';
import { until } from '../../cloud/until.ts';
import { below, clientFlags, counted, damaged, oddOption, oddRequest, optionFrame, requestFrame } from './frames.ts';
import { exportOf, type NbdTarget, negotiated, opened, secured } from './target.ts';

/** A client that does the server harm if it can. Leaves no connection open. @returns messages that it sent */
export type Attack = (target: NbdTarget, random: SeededRandom) => Promise<number>;

const mib = 1_048_576;
/** Messages of one conversation. */
const messagesMax = 60;
/** Connections of one crowd. */
const crowdSize = 200;
/** How long a client waits for the server to end a connection whose one side is closed, in milliseconds: above the server's deadlines. */
const endsWithinMs = 45_000;

/** Ends a connection with RST if it is TCP without TLS: Node offers that for no other. */
const reset = (socket: Socket): void => {
  if (socket instanceof TLSSocket || socket.remotePort === undefined) socket.destroy();
  else socket.resetAndDestroy();
};

/** Ends a connection in any way that clients do. */
const leave = async (socket: Socket, random: SeededRandom): Promise<void> => {
  const way = random.fraction();
  if (way < 0.4) socket.destroy();
  else if (way < 0.6) reset(socket);
  else if (way < 0.9) {
    socket.end();
    socket.destroySoon();
  } else {
    // Its own side only, and for a while it reads no replies: the server has to end the rest.
    socket.pause();
    socket.end();
    await sleep(below(random, 2_000));
    socket.resume();
    // What it had called for may be more than it can read in this time.
    const enough = socket.bytesRead + 64 * mib;
    const isEnded = () => socket.readableEnded || socket.destroyed || socket.bytesRead > enough;
    await until('the server ends a connection that its client has half closed', async () => isEnded(), endsWithinMs);
    socket.destroy();
  }
};

/** Sends frames while the server takes them. */
const sendAll = async (
  socket: Socket,
  random: SeededRandom,
  next: () => Buffer,
  readsReplies = random.chance(0.8),
): Promise<number> => {
  if (readsReplies) socket.resume();
  let sent = 0;
  for (const count = 1 + below(random, messagesMax); sent < count && !socket.destroyed && socket.writable; sent += 1) {
    const frame = next();
    const bytes = random.chance(0.05) ? damaged(random, frame) : frame;
    if (random.chance(0.05) && bytes.length > 1) {
      const at = 1 + below(random, bytes.length - 1);
      socket.write(bytes.subarray(0, at));
      await sleep(below(random, 50));
      socket.write(bytes.subarray(at));
    } else socket.write(bytes);
    const signal = AbortSignal.timeout(500);
    if (socket.writableNeedDrain) await once(socket, 'drain', { signal }).catch(() => undefined);
  }
  return sent;
};

const greetings: Attack = async (target, random) => {
  const socket = await opened(target);
  socket.write(
    Buffer.concat([
      clientFlags(random.pick([0, 1, 2, 3, 4, 7, 2 ** 32 - 1])),
      random.bytes(random.pick([0, 1, 15, 100])),
    ]),
  );
  if (random.chance(0.5)) await sleep(below(random, 20));
  await leave(socket, random);
  return 1;
};

const options: Attack = async (target, random) => {
  const isSecured = random.chance(0.5);
  const socket = isSecured ? await secured(target) : await opened(target);
  if (!isSecured) socket.write(clientFlags(random.pick([1, 3])));
  const sent = await sendAll(socket, random, () => oddOption(random, exportOf(target)));
  await leave(socket, random);
  return sent;
};

const startTls: Attack = async (target, random) => {
  if (random.chance(0.3)) {
    // Without a certificate.
    const socket = await secured(target, { cert: '', key: '' });
    if (!socket.destroyed) socket.write(optionFrame(option.list));
    await sleep(below(random, 50));
    await leave(socket, random);
    return 2;
  }
  const socket = await opened(target);
  socket.write(Buffer.concat([clientFlags(3), optionFrame(option.startTls)]));
  const clientHello = Buffer.concat([Buffer.from([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]), random.bytes(32)]);
  for (let count = below(random, 4); count > 0 && socket.writable; count -= 1) {
    const frames = [() => clientHello, () => optionFrame(option.startTls), () => random.bytes(below(random, 300))];
    socket.write(random.pick(frames)());
    await sleep(below(random, 20));
  }
  await leave(socket, random);
  return 2;
};

const requests: Attack = async (target, random) => {
  const socket = await secured(target);
  if (!(await negotiated(socket, target, random.chance(0.5)))) {
    socket.destroy();
    return 0;
  }
  const sent = await sendAll(socket, random, () => oddRequest(random, target.size));
  await leave(socket, random);
  return sent;
};

/** Writes of 32 MiB of which little or nothing arrives. */
const announced: Attack = async (target, random) => {
  const socket = await secured(target);
  if (!(await negotiated(socket, target, random.chance(0.5)))) {
    socket.destroy();
    return 0;
  }
  socket.write(requestFrame({ kind: command.write, offset: 0, length: random.pick([mib, 32 * mib]) }));
  for (let pieces = below(random, 20); pieces > 0 && socket.writable; pieces -= 1) {
    socket.write(random.bytes(random.pick([1, 100, 60_000])));
    await sleep(below(random, 200));
  }
  await sleep(below(random, 4_000));
  await leave(socket, random);
  return 1;
};

/** Long reads, and replies that are not read. */
const untaken: Attack = async (target, random) => {
  const socket = await secured(target);
  if (!(await negotiated(socket, target, random.chance(0.5)))) {
    socket.destroy();
    return 0;
  }
  socket.pause();
  const length = random.pick([65_536, mib, 32 * mib]);
  const sent = 1 + below(random, 200);
  for (let count = 0; count < sent && socket.writable; count += 1) {
    socket.write(requestFrame({ kind: command.read, offset: 0, length, cookie: random.bytes(8) }));
  }
  await sleep(below(random, 4_000));
  await leave(socket, random);
  return sent;
};

/** Requests that receive short replies, thousands of them, and none is read. */
const unread: Attack = async (target, random) => {
  const socket = await secured(target);
  if (!(await negotiated(socket, target, random.chance(0.5)))) {
    socket.destroy();
    return 0;
  }
  socket.pause();
  const one = requestFrame({ kind: random.pick([command.flush, command.read, 99]), offset: 0, length: 0 });
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => one));
  let sent = 0;
  for (; sent < 20_000 && socket.writable && !socket.writableNeedDrain; sent += 1_000) socket.write(many);
  await sleep(below(random, 2_000));
  await leave(socket, random);
  return sent;
};

/** Many connections at once, each at some point of its conversation. */
const crowd: Attack = async (target, random) => {
  const sockets = await Promise.all(
    Array.from({ length: crowdSize }, async () => {
      if (random.chance(0.7)) {
        const socket = await opened(target);
        if (random.chance(0.5)) socket.write(clientFlags(3));
        if (random.chance(0.2)) socket.write(optionFrame(option.startTls));
        return socket;
      }
      const socket = await secured(target);
      if (random.chance(0.5)) await negotiated(socket, target, true);
      else socket.write(optionFrame(option.info, Buffer.concat([counted(exportOf(target)), Buffer.alloc(2)])));
      return socket;
    }),
  );
  await sleep(below(random, 3_000));
  for (const socket of sockets) socket.destroy();
  return crowdSize;
};

/** Every kind of attack, with its share. */
export const attacks: readonly { readonly name: string; readonly share: number; readonly run: Attack }[] = [
  { name: 'greetings', share: 20, run: greetings },
  { name: 'options', share: 20, run: options },
  { name: 'startTls', share: 15, run: startTls },
  { name: 'requests', share: 30, run: requests },
  { name: 'announced', share: 6, run: announced },
  { name: 'untaken', share: 5, run: untaken },
  { name: 'unread', share: 3, run: unread },
  { name: 'crowd', share: 1, run: crowd },
];
