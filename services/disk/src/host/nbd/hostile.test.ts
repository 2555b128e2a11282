import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { renewable, systemClock } from '@interlock/runtime';
import { makeAuthority, makeServer, pemOf } from '../../../../../deploy/local/certificates.ts';
import { freePort } from '../../../../../deploy/local/free-port.ts';
import { Admission, connectionsMax, connectionsPerDiskMax } from './admission.ts';
import { Budget, ownBytes } from './budget.ts';
import { NbdDoor } from './door.ts';
import { nbdListener } from './listener.ts';
import { option, optionMagic } from './wire.ts';

const limit = { timeout: 120_000 };
/** A descriptor that stays open after each of them, or after each that leaves in one way, is noticed with fewer as well. */
const handshakes = 200;
const atOnce = 50;

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** A door over TCP with TLS. Its clocks are ten times as fast, so that deadlines come soon. */
const start = async (t: TestContext) => {
  const authority = await makeAuthority(Date.now());
  const { certificate: ca } = await pemOf(authority);
  const { certificate, key } = await pemOf(
    await makeServer(authority, Date.now(), { dns: ['localhost'], ip: ['127.0.0.1'] }),
  );
  const endsAt = Date.now() + 600_000;
  const tls = renewable({ certificate, key, ca, endsAt, authorityEndsAt: endsAt });
  const port = await freePort();
  const listener = nbdListener({ kind: 'tls', host: '127.0.0.1', port }, async () => tls.current());
  const door = new NbdDoor({
    exports: { open: () => Promise.reject(new Error('no disk here')), names: async () => [] },
    clock: { alarm: (ms, wake) => systemClock.alarm(ms / 10, wake) },
    logError: assert.fail,
  });
  await listener.listen((stream, arrival) => void door.serve(stream, arrival));
  t.after(async () => {
    door.close();
    await listener.close();
  });
  return { port, tls: { ca, cert: certificate, key } };
};

type Door = Awaited<ReturnType<typeof start>>;

const startTls = Buffer.alloc(16);
startTls.writeBigUInt64BE(optionMagic);
startTls.writeUInt32BE(option.startTls, 8);

const flags = (value: number): Buffer => Buffer.from([0, 0, 0, value]);

/** A client in TLS, or one that was refused. */
const inTls = async (socket: Socket, { tls: { ca, cert, key } }: Door, shows: boolean): Promise<Socket> => {
  socket.write(Buffer.concat([flags(3), startTls]));
  // The greeting, and the reply to STARTTLS.
  for (let bytes = 0; bytes < 38 && !socket.readableEnded; ) {
    const part: Buffer | null = socket.read(Math.min(38 - bytes, socket.readableLength) || 1);
    if (part === null) await once(socket, 'readable');
    bytes += part?.length ?? 0;
  }
  const stream = connectTls({ socket, ca, servername: 'localhost', ...(shows ? { cert, key } : {}) });
  stream.on('error', () => undefined);
  await Promise.race([once(stream, 'secureConnect'), once(stream, 'close')]).catch(() => undefined);
  return stream;
};

/** What a client does before it leaves, or before it only ends its side. */
const kinds: Readonly<Record<string, (socket: Socket, door: Door) => Promise<Socket>>> = {
  'sends nothing': async (socket) => socket,
  'sends flags that are refused, and a byte more': async (socket) => {
    socket.write(Buffer.concat([flags(0), Buffer.alloc(1)]));
    return socket;
  },
  'sends what is no option': async (socket) => {
    socket.write(Buffer.concat([flags(3), Buffer.alloc(100)]));
    return socket;
  },
  'sends a part of an option': async (socket) => {
    socket.write(Buffer.concat([flags(3), startTls.subarray(0, 9)]));
    return socket;
  },
  'uses STARTTLS and sends nothing': async (socket) => {
    socket.write(Buffer.concat([flags(3), startTls]));
    return socket;
  },
  'uses STARTTLS and sends no TLS': async (socket) => {
    socket.write(Buffer.concat([flags(3), startTls, startTls, Buffer.alloc(200)]));
    return socket;
  },
  'shows no certificate': (socket, door) => inTls(socket, door, false),
  'sends what is no option in TLS': async (socket, door) => {
    const stream = await inTls(socket, door, true);
    stream.write(Buffer.alloc(100));
    return stream;
  },
};

/** How clients leave: they close, reset, end their side only, or stay. The last two leave the rest to the server. */
const ways: readonly ((stream: Socket, socket: Socket) => void)[] = [
  (_, socket) => socket.destroySoon(),
  (_, socket) => socket.resetAndDestroy(),
  (stream) => stream.pause().end(),
  (stream) => stream.pause(),
];

for (const [kind, act] of Object.entries(kinds)) {
  test(`a client that ${kind} leaves no descriptor open, however it leaves`, limit, async (t) => {
    const door = await start(t);
    const before = descriptors();
    const kept: Socket[] = [];
    t.after(() => {
      for (const socket of kept) socket.destroy();
    });
    const one = async (way: number): Promise<void> => {
      // Without this, a client ends its side as soon as the server does.
      const socket = connect({ port: door.port, host: '127.0.0.1', allowHalfOpen: true });
      socket.on('error', () => undefined);
      kept.push(socket);
      await once(socket, 'connect');
      // A client may be refused before it is ready to leave.
      const stream = await act(socket, door).catch(() => socket);
      ways[way % ways.length]?.(stream, socket);
    };
    for (let done = 0; done < handshakes; done += atOnce) {
      await Promise.all(Array.from({ length: atOnce }, (_, way) => one(way)));
    }
    // The clients that stay have theirs: the server must have none.
    const own = (): number => kept.filter((socket) => !socket.closed).length;
    while (descriptors() > before + own()) await sleep(20);
  });
}

test('of connections that have opened no disk, the one that is silent for longest ends, of the address with the most', () => {
  const admission = new Admission();
  const made = () => {
    const stream = {
      isDestroyed: false,
      destroy() {
        stream.isDestroyed = true;
      },
    };
    return stream as unknown as Socket & { readonly isDestroyed: boolean };
  };
  const from = (address: string | undefined, count: number) =>
    Array.from({ length: count }, () => {
      const stream = made();
      assert.ok(admission.enter(stream, address));
      return stream;
    });
  const [few, many] = [from('a', 3), from('b', connectionsMax.newPerAddress + 2)];
  assert.deepEqual(
    many.map(({ isDestroyed }) => isDestroyed),
    many.map((_, n) => n < 2),
  );
  const [spoke, next] = many.slice(2);
  assert.ok(spoke && next);
  admission.noteOption(spoke);
  many.push(...from('b', 1));
  assert.deepEqual([spoke.isDestroyed, next.isDestroyed], [false, true], 'an option counts as a new arrival');
  const local = from(undefined, connectionsMax.new);
  assert.equal([...few, ...many, ...local].filter(({ isDestroyed }) => !isDestroyed).length, connectionsMax.new);
  assert.ok(few.every(({ isDestroyed }) => !isDestroyed));
  for (let count = 0; count < connectionsPerDiskMax; count += 1) assert.ok(admission.openDisk('d'));
  assert.equal(admission.openDisk('d'), false);
  admission.closeDisk('d');
  assert.ok(admission.openDisk('d'));
});

test('a connection always has memory of its own, and leaves some of the common memory to others', async () => {
  const pool = 16 * ownBytes;
  const budget = new Budget(pool);
  const shares = Array.from({ length: 100 }, () => budget.share());
  const held = shares.map((share) => {
    let count = 0;
    while (share.tryTake(ownBytes)) count += 1;
    return count;
  });
  // Each takes its own and half of what is left of the pool.
  assert.deepEqual(held.slice(0, 5), [9, 5, 3, 2, 1]);
  assert.ok(held.every((count) => count > 0));
  const [first, last] = [shares.at(0), shares.at(-1)];
  const waits = first?.take(ownBytes);
  assert.ok(waits instanceof Promise);
  last?.release(ownBytes);
  assert.equal(last?.take(ownBytes), undefined);
  // It waits for its own requests only: once they are done, it continues.
  for (let count = 1; count < 9; count += 1) first?.release(ownBytes);
  await waits;
});
