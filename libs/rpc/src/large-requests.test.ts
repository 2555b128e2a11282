import assert from 'node:assert/strict';
import { test } from 'node:test';
import { largeRequests } from './large-requests.ts';

test('a connection has at most 4 places; a fifth request gets none until one is given up', async () => {
  const large = largeRequests();
  const connection = {};
  const requests = Array.from({ length: 4 }, () => ({}));
  assert.deepEqual(
    requests.map((request) => large.takeFree(request, connection)),
    [true, true, true, true],
  );
  const fifth = {};
  assert.equal(large.takeFree(fifth, connection), false);
  let isIn = false;
  const waits = large.take(fifth, connection).then(() => {
    isIn = true;
  });
  assert.equal(large.takeFree({}, {}), true, 'another connection has places of its own');
  await Promise.resolve();
  assert.equal(isIn, false);
  large.giveUp(requests[0] ?? {});
  await waits;
  assert.equal(large.takeFree({}, connection), false, 'the fifth request has the place that was given up');
});

test('a server has at most 16 places', () => {
  const large = largeRequests();
  const taken = Array.from({ length: 17 }, () => large.takeFree({}, {}));
  assert.deepEqual(taken, [...Array.from({ length: 16 }, () => true), false]);
});
