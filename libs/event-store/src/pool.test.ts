import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { Sql } from './connection.ts';
import { openPool } from './pool.ts';

/** A pool of numbered connections, and work that ends on demand. */
const open = (count: number) => {
  const numbers = new Map<Sql, number>();
  const ended: number[] = [];
  const connected: number[] = [];
  const pool = openPool(count, () => {
    const number = numbers.size;
    const end = async (): Promise<void> => {
      ended.push(number);
    };
    const query = async (): Promise<void> => {
      connected.push(number);
    };
    const sql = Object.assign(query, { end }) as unknown as Sql;
    numbers.set(sql, number);
    return sql;
  });
  const begin = (): { readonly connection: number; end(failure?: Error): Promise<void> } => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let connection = -1;
    const work = pool.use((sql) => {
      connection = numbers.get(sql) ?? -1;
      return promise;
    });
    return {
      connection,
      async end(failure) {
        if (failure) reject(failure);
        else resolve();
        await work.catch((error: unknown) => assert.equal(error, failure));
      },
    };
  };
  return { pool, begin, ended, connected };
};

test('sequential work stays on one connection', async () => {
  const { begin } = open(3);
  for (let n = 0; n < 4; n++) {
    const work = begin();
    assert.equal(work.connection, 0);
    await work.end(n % 2 === 0 ? new Error('refused') : undefined);
  }
});

test('concurrent work is spread, and queues on the connection with the least running work', async () => {
  const { begin } = open(2);
  const works = [begin(), begin(), begin(), begin()];
  assert.deepEqual(
    works.map(({ connection }) => connection),
    [0, 1, 0, 1],
  );
  await works[1]?.end();
  assert.equal(begin().connection, 1);
  await works[0]?.end();
  await works[2]?.end();
  assert.equal(begin().connection, 0);
});

test('the end of a pool closes every connection', async () => {
  const { pool, ended } = open(3);
  await pool.end(1);
  assert.deepEqual(ended, [0, 1, 2]);
});

test('connect opens the requested connections in advance, at most all of them', async () => {
  const { pool, connected } = open(3);
  await pool.connect(2);
  assert.deepEqual(connected, [0, 1]);
  await pool.connect(9);
  assert.deepEqual(connected, [0, 1, 0, 1, 2]);
});

test('a connection is closed only if nothing arrived on it since the work began', async () => {
  let connected: (socket: Socket) => void = () => assert.fail('opened first');
  const pool = openPool(1, (onSocket) => {
    connected = onSocket;
    return undefined as unknown as Sql;
  });
  const connect = () => {
    const socket = Object.assign(new EventEmitter(), {
      bytesRead: 0,
      closed: false,
      destroy(): void {
        socket.closed = true;
        socket.emit('close');
      },
    });
    connected(socket as unknown as Socket);
    return socket;
  };
  const begin = () => pool.use(async (_, closeIfSilent) => closeIfSilent);
  const first = connect();
  const answered = await begin();
  first.bytesRead += 1;
  await answered();
  assert.equal(first.closed, false);
  const unanswered = await begin();
  const second = connect();
  await unanswered();
  assert.deepEqual([first.closed, second.closed], [false, false]);
  const unheard = await begin();
  await unheard();
  assert.deepEqual([first.closed, second.closed], [false, true]);
});
