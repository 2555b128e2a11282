import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recentEvents } from './recent-events.ts';
import type { RecordedEvent } from './store.ts';

const event = (position: number): RecordedEvent => ({
  position,
  stream: `lamp-${position}`,
  version: 1,
  type: 'LampLit',
  schema: 1,
  data: {},
  id: `e${position}`,
  cause: { correlationId: 'c', causes: [], caller: 'c' },
  time: 0,
});
const run = (first: number, count: number): readonly RecordedEvent[] =>
  Array.from({ length: count }, (_, n) => event(first + n));
const positions = (events: readonly RecordedEvent[] | undefined): readonly number[] | undefined =>
  events?.map(({ position }) => position);

test('events after a position are returned in order across transactions, up to the limit', () => {
  const recent = recentEvents(100);
  recent.add(5, run(5, 2));
  recent.add(7, run(7, 3));
  assert.deepEqual(positions(recent.after(4, 10)), [5, 6, 7, 8, 9]);
  assert.deepEqual(positions(recent.after(5, 2)), [6, 7]);
  assert.deepEqual(positions(recent.after(8, 10)), [9]);
});

test('the result is undefined if the next event is not kept', () => {
  const recent = recentEvents(100);
  assert.equal(recent.after(0, 10), undefined);
  recent.add(5, run(5, 2));
  assert.equal(recent.after(3, 10), undefined, 'another process stored 4');
  assert.equal(recent.after(6, 10), undefined, '7 does not exist yet');
});

test('a result ends before a gap, and continues once a late transaction fills it', () => {
  const recent = recentEvents(100);
  recent.add(8, run(8, 2));
  recent.add(5, run(5, 1));
  assert.deepEqual(positions(recent.after(4, 10)), [5]);
  recent.add(6, run(6, 2));
  assert.deepEqual(positions(recent.after(4, 10)), [5, 6, 7, 8, 9]);
});

test('the oldest transactions are dropped first; the newest is kept whatever its size', () => {
  const recent = recentEvents(3);
  recent.add(1, run(1, 2));
  recent.add(3, run(3, 2));
  assert.equal(recent.after(0, 10), undefined);
  assert.deepEqual(positions(recent.after(2, 10)), [3, 4]);
  recent.add(5, run(5, 9));
  assert.equal(recent.after(2, 10), undefined);
  assert.equal(recent.after(4, 10)?.length, 9);
});
