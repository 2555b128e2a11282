import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { category } from './category.ts';
import type { CategoryDefinition } from './category-definition.ts';
import { type Cause, callingEvent, eventId, followed } from './cause.ts';
import { memoryStore } from './memory-store.ts';
import { type Stepping, withSteps } from './steps.ts';

type BatchEvent = { readonly type: 'Ordered' } | { readonly type: 'Paid' } | { readonly type: 'Noted' };
type Batch = Stepping & { readonly count: number };

/** A stream with a process that pays what was ordered; notes advance nothing. */
const orders: CategoryDefinition<Batch, BatchEvent> = {
  name: 'order',
  stateVersion: 1,
  initial: { count: 0 },
  evolve: withSteps<Batch, BatchEvent>(
    ({ count }) => ({ count: count + 1 }),
    ({ type }) => (type === 'Noted' ? [] : ['payment']),
  ),
};
const root: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const open = () => {
  const store = memoryStore({ clock: systemClock });
  return { store, streams: category(store, orders) };
};
const one = (type: BatchEvent['type']) => () => [{ type }];

test('G10: an event names the event that its process continues, even if the stream got others in between', async () => {
  const { store, streams } = open();
  await streams.transact('a', one('Ordered'), root);
  await streams.transact('a', one('Noted'), root);
  await streams.transact('a', one('Paid'), root, { step: 'payment' });
  await streams.transact('a', one('Noted'), root, { timer: 'payment' });
  assert.deepEqual(
    (await store.read('order-a')).map(({ id, cause }) => [id, cause.causes]),
    [
      ['order-a@1', []],
      ['order-a@2', []],
      ['order-a@3', [{ id: 'order-a@1', kind: 'step' }]],
      ['order-a@4', [{ id: 'order-a@3', kind: 'timer' }]],
    ],
  );
});

test('G10: an event names the last event of the same work in its stream, and each event that answered a call once', async () => {
  const { store, streams } = open();
  const work = followed({ ...root, causes: [{ id: 'set-s@4', kind: 'call' }] });
  assert.equal(callingEvent(work), 'set-s@4');
  await streams.transact('a', one('Ordered'), work);
  assert.equal(callingEvent(work), 'order-a@1');
  work.tracker?.answered(['key-k@2']);
  await streams.transact('a', one('Paid'), work);
  await streams.transact('a', one('Paid'), work);
  await streams.transact('b', one('Ordered'), work);
  const causesIn = async (stream: `order-${string}`) => (await store.read(stream)).map(({ cause }) => cause.causes);
  assert.deepEqual(await causesIn('order-a'), [
    [{ id: 'set-s@4', kind: 'call' }],
    [
      { id: 'order-a@1', kind: 'step' },
      { id: 'key-k@2', kind: 'answer' },
    ],
    [{ id: 'order-a@2', kind: 'step' }],
  ]);
  assert.deepEqual(await causesIn('order-b'), [[{ id: 'set-s@4', kind: 'call' }]]);
  assert.deepEqual(work.tracker?.appended(), ['order-a@3', 'order-b@1']);
});

test('G10: a change of many streams can name a cause for each', async () => {
  const { store, streams } = open();
  await streams.transactMany(['a', 'b'], one('Ordered'), root, {
    causesOf: (_state, id) => (id === 'a' ? [{ id: eventId('vm-v', 7), kind: 'call' }] : undefined),
  });
  const [[a], [b]] = await Promise.all([store.read('order-a'), store.read('order-b')]);
  assert.deepEqual([a?.cause.causes, b?.cause.causes], [[{ id: 'vm-v@7', kind: 'call' }], []]);
});

test('G10: an event that a commit stores after another one of its stream names the first event of the commit', async () => {
  const { store, streams } = open();
  const work: Cause = { ...root, causes: [{ id: 'set-s@4', kind: 'message' }] };
  await streams.transact('a', () => [{ type: 'Ordered' }, { type: 'Noted' }, { type: 'Paid' }], work);
  const causes = (await store.read('order-a')).map(({ cause }) => cause.causes);
  const first = [{ id: 'order-a@1', kind: 'step' }];
  assert.deepEqual(causes, [work.causes, first, first]);
});
