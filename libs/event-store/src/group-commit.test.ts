import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commitQueue, type PendingCommit, takeBatch } from './group-commit.ts';
import type { StreamName } from './store.ts';

const cause = { correlationId: 'c', causes: [], caller: 'principals/p' };

const waiting = (stream: StreamName): PendingCommit => ({
  commit: { appends: [{ stream, expected: 0, events: [{ type: 'A', schema: 1, data: {} }] }] },
  cause,
  resolve: () => {},
  reject: () => {},
});
/** A bulk commit: a page of a fleet, one event for each stream. */
const page = (prefix: string, size = 500): PendingCommit => ({
  ...waiting('page-0'),
  commit: { appends: many(size, prefix).flatMap((stream) => waiting(stream).commit.appends ?? []) },
});
const streams = (batch: readonly PendingCommit[]): readonly string[] =>
  batch.flatMap(({ commit }) => (commit.appends ?? []).map(({ stream }) => stream));

/** A queue whose transactions end on demand. */
const open = () => {
  const underWay: { readonly streams: readonly string[]; readonly end: (flushMs?: number) => Promise<void> }[] = [];
  const queue = commitQueue(
    (batch) =>
      new Promise((resolve) => {
        const end = async (flushMs?: number): Promise<void> => {
          underWay.splice(underWay.indexOf(entry), 1);
          resolve(flushMs);
          await settled();
        };
        const entry = { streams: streams(batch), end };
        underWay.push(entry);
      }),
  );
  const pushAll = async (...all: readonly PendingCommit[]): Promise<void> => {
    for (const one of all) queue.push(one);
    await settled();
  };
  const push = (...names: readonly StreamName[]): Promise<void> => pushAll(...names.map(waiting));
  return { queue, underWay, push, pushAll };
};
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const many = (count: number, prefix: string): readonly StreamName[] =>
  Array.from({ length: count }, (_, n): StreamName => `${prefix}-${n}`);

test('a batch leaves out commits that conflict with a running one or with an earlier one of the batch', () => {
  const queue = ['a-1', 'b-1', 'a-1', 'c-1'].map((stream) => waiting(stream as StreamName));
  assert.deepEqual(streams(takeBatch(queue, { maxWeight: 100, running: [waiting('b-1')] })), ['a-1', 'c-1']);
  assert.deepEqual(streams(queue), ['b-1', 'a-1']);
});

test('a batch holds at least one commit, and no more than the weight allows', () => {
  const queue = many(5, 'a').map(waiting);
  assert.equal(takeBatch(queue, { maxWeight: 0 }).length, 1);
  assert.equal(takeBatch(queue, { maxWeight: 3 }).length, 3);
  assert.equal(queue.length, 1);
});

test('commits that arrive during a transaction share the next one', async () => {
  const { underWay, push } = open();
  await push('a-1');
  await underWay[0]?.end(50);
  await push('b-1');
  await push('c-1');
  await push('d-1');
  assert.deepEqual(
    underWay.map((one) => one.streams),
    [['b-1']],
  );
  await underWay[0]?.end(50);
  assert.deepEqual(
    underWay.map((one) => one.streams),
    [['c-1', 'd-1']],
  );
});

test('many commits are split between two transactions if a flush is short, and share one if it is long', async () => {
  for (const [flushMs, expected] of [
    [0.1, [50, 50]],
    [100, [100]],
  ] as const) {
    const { underWay, push } = open();
    // The estimate follows a slower flush only gradually.
    for (let round = 0; round < 60; round++) {
      await push('warm-1');
      await underWay[0]?.end(flushMs);
    }
    await push(...many(100, 'a'));
    assert.deepEqual(
      underWay.map((one) => one.streams.length),
      expected,
      `a flush of ${flushMs} ms`,
    );
  }
});

test('a commit waits for an earlier one on the same stream, even if a second transaction could start', async () => {
  const { queue, underWay, push } = open();
  await push(...many(50, 'a'));
  assert.equal(underWay.length, 2);
  await push('a-0', ...many(50, 'b'));
  const first = underWay.find((one) => one.streams.includes('a-0'));
  const second = underWay.find((one) => one !== first);
  await second?.end(0);
  assert.ok(underWay.every((one) => one === first || !one.streams.includes('a-0')));
  await first?.end(0);
  let isIdle = false;
  const idle = queue.idle().then(() => {
    isIdle = true;
  });
  let again = 0;
  while (underWay.length > 0) {
    assert.equal(isIdle, false);
    again += underWay[0]?.streams.includes('a-0') ? 1 : 0;
    await underWay[0]?.end(0);
  }
  await idle;
  assert.equal(again, 1);
});

test('a small commit starts before waiting bulk commits, and beside running ones', async () => {
  const { underWay, push, pushAll } = open();
  // Each page needs its own transaction.
  await pushAll(page('a', 1_500), page('b', 1_500), page('c', 1_500), waiting('x-1'));
  const first = () => underWay.map((one) => one.streams[0]);
  assert.deepEqual(first(), ['x-1', 'a-0', 'b-0']);
  assert.deepEqual(
    underWay.map((one) => one.streams.length),
    [1, 1_500, 1_500],
  );
  await push('y-1');
  await push('z-1');
  assert.deepEqual(first(), ['x-1', 'a-0', 'b-0']);
  await underWay[0]?.end(0);
  assert.deepEqual(first(), ['a-0', 'b-0', 'y-1']);
  assert.deepEqual(underWay[2]?.streams, ['y-1', 'z-1']);
  await underWay[0]?.end(0);
  assert.deepEqual(first(), ['b-0', 'y-1', 'c-0']);
});

test('a bulk commit starts while two transactions of small commits run', async () => {
  const { underWay, push, pushAll } = open();
  await push(...many(50, 'x'));
  assert.equal(underWay.length, 2);
  await push(...many(50, 'y'));
  await pushAll(page('a'));
  assert.deepEqual(underWay[2]?.streams.length, 500);
});

test('a small commit that conflicts with earlier bulk commits is stored after them', async () => {
  const { queue, underWay, push, pushAll } = open();
  await pushAll(page('a'), page('a'));
  await push('a-7', 'x-1');
  assert.deepEqual(
    underWay.map((one) => one.streams.length),
    [500, 1],
  );
  const ended: (string | undefined)[] = [];
  let isIdle = false;
  const idle = queue.idle().then(() => {
    isIdle = true;
  });
  for (let next = underWay[0]; next !== undefined; next = underWay[0]) {
    assert.equal(isIdle, false);
    ended.push(next.streams.at(-1));
    await next.end(0);
  }
  await idle;
  assert.deepEqual(ended, ['a-499', 'x-1', 'a-499', 'a-7']);
});

test('commits whose cursor moves continue each other share a transaction, in their order', () => {
  const moving = (stream: StreamName, from: number, to = from): PendingCommit => ({
    ...waiting(stream),
    commit: { ...waiting(stream).commit, cursors: [{ name: 'generation', from, to }] },
  });
  const queue = [
    moving('a-1', 3),
    moving('a-2', 3),
    moving('a-3', 3, 4),
    moving('a-4', 3),
    moving('a-5', 4),
    waiting('a-6'),
  ];
  assert.deepEqual(streams(takeBatch(queue, { maxWeight: 100 })), ['a-1', 'a-2', 'a-3', 'a-6']);
  assert.deepEqual(streams(takeBatch(queue, { maxWeight: 100 })), ['a-4']);
  assert.deepEqual(streams(takeBatch(queue, { maxWeight: 100 })), ['a-5']);
  const chain = [moving('b-1', 3, 4), moving('b-1', 4, 5), moving('b-2', 5, 6), moving('b-3', 4, 5)];
  // A commit that waits for its stream blocks later moves of the same cursor.
  assert.deepEqual(streams(takeBatch(chain, { maxWeight: 100 })), ['b-1']);
  assert.deepEqual(streams(takeBatch(chain, { maxWeight: 100 })), ['b-1', 'b-2']);
  assert.deepEqual(streams(takeBatch(chain, { maxWeight: 100 })), ['b-3']);
  assert.deepEqual(streams(takeBatch([moving('c-1', 3)], { maxWeight: 100, running: [moving('c-2', 3)] })), []);
});
