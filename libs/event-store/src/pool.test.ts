import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { Sql } from './connection.ts';
import { openLanes } from './lanes.ts';

/** Lanes over connections that are only numbers, and work that ends when told to. */
const open = (count: number) => {
  const numbers = new Map<Sql, number>();
  const ended: number[] = [];
  const connected: number[] = [];
  const lanes = openLanes(count, () => {
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
  const begin = (): { readonly lane: number; end(failure?: Error): Promise<void> } => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let lane = -1;
    const work = lanes.use((sql) => {
      lane = numbers.get(sql) ?? -1;
      return promise;
    });
    return {
      lane,
      async end(failure) {
        if (failure) reject(failure);
        else resolve();
        await work.catch((error: unknown) => assert.equal(error, failure));
      },
    };
  };
  return { lanes, begin, ended, connected };
};

test('work that comes one after the other stays on one connection', async () => {
  const { begin } = open(3);
  for (let n = 0; n < 4; n++) {
    const work = begin();
    assert.equal(work.lane, 0);
    await work.end(n % 2 === 0 ? new Error('refused') : undefined);
  }
});

test('work that comes at once is shared out, and lines up where the least is under way', async () => {
  const { begin } = open(2);
  const works = [begin(), begin(), begin(), begin()];
  assert.deepEqual(
    works.map(({ lane }) => lane),
    [0, 1, 0, 1],
  );
  await works[1]?.end();
  assert.equal(begin().lane, 1);
  await works[0]?.end();
  await works[2]?.end();
  assert.equal(begin().lane, 0);
});

test('every connection is closed', async () => {
  const { lanes, ended } = open(3);
  await lanes.end(1);
  assert.deepEqual(ended, [0, 1, 2]);
});

test('connections are opened beforehand as asked for, and no more than there are', async () => {
  const { lanes, connected } = open(3);
  await lanes.connect(2);
  assert.deepEqual(connected, [0, 1]);
  await lanes.connect(9);
  assert.deepEqual(connected, [0, 1, 0, 1, 2]);
});

test('a connection is given up where nothing has come back on it since the work began, and nowhere else', async () => {
  let connected: (socket: Socket) => void = () => assert.fail('opened first');
  const lanes = openLanes(1, (onSocket) => {
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
  const begin = () => lanes.use(async (_, giveUpIfSilent) => giveUpIfSilent);
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
