import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { category } from './category.ts';
import type { Cause } from './cause.ts';
import { memoryStore } from './memory-store.ts';
import { CursorConflict, type EventStore, type RowChange } from './store.ts';
import { table } from './table.ts';
import { lamps, make, turn } from './test-lamps.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };

const opened = () => {
  const store = memoryStore({ clock: systemClock });
  return { store, lamp: category(store, lamps) };
};

test('a transaction decides on the folded state, and stores the events, the state row and its index entries', async () => {
  const { store, lamp } = opened();
  await lamp.transact('a', make('hall'), cause);
  const { state, version, events, positions } = await lamp.transact('a', turn(true), cause);
  assert.deepEqual(
    { state, version, events, positions },
    {
      state: { status: 'whole', room: 'hall', on: true },
      version: 2,
      events: [{ type: 'LampSwitched', on: true }],
      positions: [2],
    },
  );
  assert.deepEqual(await lamp.transact('a', turn(true), cause), {
    id: 'a',
    state,
    version: 2,
    events: [],
    positions: [],
  });
  assert.deepEqual(
    (await lamp.list({ index: { index: 'on', value: 'true' }, limit: 5 })).items.map((i) => i.id),
    ['a'],
  );
  assert.deepEqual((await lamp.list({ index: { index: 'on', value: 'false' }, limit: 5 })).items, []);
  assert.equal(await lamp.count({ index: 'on', value: 'true' }), 1);
  assert.equal(await store.head(), 2);
});

test('a conflict is decided again; a mismatch of the etag is refused', async () => {
  const { lamp } = opened();
  await lamp.transact('a', make('hall'), cause);
  await Promise.all([true, false, true, false].map((on) => lamp.transact('a', turn(on), cause)));
  await assert.rejects(lamp.transact('a', turn(true), cause, { expected: 1 }), {
    code: 'ABORTED',
    reason: 'ETAG_MISMATCH',
  });
});

test('a known state that is current is not read again; an outdated one is read and decided again', async () => {
  const { store } = opened();
  let looks = 0;
  const counting = {
    ...store,
    getStates: (...asked: Parameters<typeof store.getStates>) => {
      looks += 1;
      return store.getStates(...asked);
    },
  };
  const lamp = category(counting, lamps);
  const nothing = await lamp.load('a');
  const whole = await lamp.transact('a', make('hall'), cause, { known: nothing });
  const on = await lamp.transact('a', turn(true), cause, { known: whole });
  assert.deepEqual([on.version, looks], [2, 1]);
  // The known states are outdated now: a decision on them would differ from one on the current state.
  await lamp.transact('a', turn(false), cause);
  assert.deepEqual((await lamp.transact('a', turn(false), cause, { known: on })).events, []);
  await assert.rejects(lamp.transact('b', turn(true), cause, { known: nothing, expected: 3 }), {
    reason: 'ETAG_MISMATCH',
  });
  assert.equal(
    (await lamp.transact('a', turn(true), cause, { known: nothing })).version,
    4,
    'a refusal on a known state is decided again',
  );
  await assert.rejects(lamp.transact('a', turn(false), cause, { known: on, expected: on.version }), {
    reason: 'ETAG_MISMATCH',
  });
});

test('a transaction with a guard is stored only if the cursor still has the expected value', async () => {
  const { store, lamp } = opened();
  const guard = { name: 'power', from: 0, to: 0 };
  await lamp.transact('a', make('hall'), cause, { guard });
  await store.commit({ cursors: [{ ...guard, to: 1 }] }, cause);
  await assert.rejects(lamp.transact('a', turn(true), cause, { guard }), CursorConflict);
  await lamp.transact('a', turn(true), cause, { guard: { name: 'power', from: 1, to: 1 } });
  const both = [
    { name: 'power', from: 1, to: 2 },
    { name: 'fuse', from: 0, to: 1 },
  ];
  await lamp.transact('a', turn(false), cause, { guard: both });
  assert.deepEqual([await store.cursor('power'), await store.cursor('fuse')], [2, 1]);
  assert.equal((await lamp.load('a')).version, 3);
});

test('a rejected transaction stores nothing', async () => {
  const { store, lamp } = opened();
  await assert.rejects(lamp.transact('a', turn(true), cause), { reason: 'LAMP_NOT_FOUND' });
  assert.equal(await store.head(), 0);
});

test('many streams: conflicts are decided again, rejections are reported, the rest is stored', async () => {
  const { store, lamp } = opened();
  const ids = Array.from({ length: 2_500 }, (_, n) => `l${n}`);
  await lamp.transactMany(ids, make('hall'), cause);
  const commit = store.commit.bind(store);
  let disturbed = false;
  const racing = category(
    {
      ...store,
      commit: async (given, why) => {
        if (!disturbed) {
          disturbed = true;
          await lamp.transact('l7', turn(true), cause);
        }
        return commit(given, why);
      },
    },
    lamps,
  );
  const { changed, rejected } = await racing.transactMany([...ids, 'missing'], turn(true), cause);
  assert.equal(changed.length, 2_499, 'l7 was switched by another writer');
  assert.deepEqual(
    rejected.map((r) => r.id),
    ['missing'],
  );
  assert.equal((await lamp.listAll({ index: { index: 'on', value: 'true' } })).length, 2_500);
});

test('many streams: a stream under contention fails the call or is rejected alone; the rest is stored', async () => {
  const { store, lamp } = opened();
  const ids = ['a', 'busy', 'c'];
  await lamp.transactMany(ids, make('hall'), cause);
  let isOn = false;
  const racing = category(
    {
      ...store,
      commit: async (given, why) => {
        if (given.appends?.some(({ stream }) => stream === 'lamp-busy')) {
          isOn = !isOn;
          await lamp.transact('busy', turn(isOn), cause);
        }
        return store.commit(given, why);
      },
    },
    lamps,
  );
  const toggle = (state: Parameters<ReturnType<typeof turn>>[0]) => turn(state.status === 'whole' && !state.on)(state);
  await assert.rejects(racing.transactMany(ids, toggle, cause), { code: 'ABORTED', reason: 'CONTENTION' });
  assert.deepEqual((await lamp.load('c')).state, { status: 'whole', room: 'hall', on: true });
  const { changed, rejected } = await racing.transactMany(ids, toggle, cause, { onContention: 'reject' });
  assert.deepEqual(changed.map(({ id }) => id).sort(), ['a', 'c']);
  assert.deepEqual(
    rejected.map(({ id, rejection }) => [id, rejection.reason, rejection.metadata.name]),
    [['busy', 'CONTENTION', 'busy']],
  );
});

test('old events are converted to the current schema while reading; new ones have the current schema', async () => {
  const { store, lamp } = opened();
  await store.commit(
    {
      appends: [
        { stream: 'lamp-old', expected: 0, events: [{ type: 'LampMade', schema: 1, data: { place: 'attic' } }] },
      ],
    },
    cause,
  );
  assert.deepEqual((await lamp.load('old')).state, { status: 'whole', room: 'attic', on: false });
  await lamp.transact('new', make('hall'), cause);
  assert.equal((await store.read('lamp-new'))[0]?.schema, 2);
});

test('lists have pages without overlap', async () => {
  const { lamp } = opened();
  await lamp.transactMany(['a', 'b', 'c', 'd', 'e'], make('hall'), cause);
  const first = await lamp.list({ limit: 2 });
  const second = await lamp.list({ limit: 2, ...(first.next ? { after: first.next } : {}) });
  const third = await lamp.list({ limit: 2, ...(second.next ? { after: second.next } : {}) });
  assert.deepEqual(
    [first, second, third].map((page) => page.items.map((i) => i.id)),
    [['a', 'b'], ['c', 'd'], ['e']],
  );
  assert.equal(third.next, undefined);
});

test('a replaced table row replaces its index entries', async () => {
  const { store } = opened();
  const notes = table<{ about: string }>(store, {
    name: 'note',
    version: 1,
    indexes: (row) => [{ index: 'about', value: row.about }],
  });
  await store.commit({ rows: [notes.put('n', { about: 'a' }, undefined)] }, cause);
  await store.commit({ rows: [notes.put('n', { about: 'b' }, { about: 'a' })] }, cause);
  assert.deepEqual((await notes.list({ index: { index: 'about', value: 'a' }, limit: 5 })).items, []);
  assert.deepEqual((await notes.list({ index: { index: 'about', value: 'b' }, limit: 5 })).items, [
    { key: 'n', row: { about: 'b' } },
  ]);
  await store.commit({ rows: [notes.remove('n', { about: 'b' })] }, cause);
  assert.equal(await notes.get('n'), undefined);
});

test('a rebuilt row removes once each former index entry of its stream', async () => {
  const { store } = opened();
  const switched = Array.from({ length: 500 }, (_, n) => ({
    type: 'LampSwitched',
    schema: 1,
    data: { on: n % 2 === 0 },
  }));
  const events = [{ type: 'LampMade', schema: 2, data: { room: 'hall' } }, ...switched];
  await store.commit({ appends: [{ stream: 'lamp-a', expected: 0, events }] }, cause);
  const changes: RowChange[] = [];
  const noting: EventStore = {
    ...store,
    renewRows: (renewals) => {
      changes.push(...renewals.map(({ change }) => change));
      return store.renewRows(renewals);
    },
  };
  for (const pageEvents of [1_000, 7]) {
    changes.length = 0;
    await category(noting, { ...lamps, stateVersion: pageEvents }).renewAll(pageEvents);
    assert.deepEqual(
      changes.map(({ removed, added }) => [removed, added]),
      [
        [
          [{ index: 'on', value: 'true' }],
          [
            { index: 'room', value: 'hall' },
            { index: 'on', value: 'false' },
          ],
        ],
      ],
    );
  }
});

test('many streams: known states are decided without a read, and again if they have changed since', async () => {
  const { store, lamp } = opened();
  await lamp.transactMany(['a', 'b', 'c'], make('hall'), cause);
  const { items } = await lamp.list({ limit: 10 });
  await lamp.transact('b', turn(true), cause);
  const decided: string[] = [];
  const { changed } = await lamp.transactMany(
    items,
    (state, id) => {
      decided.push(id);
      return turn(true)(state);
    },
    cause,
  );
  assert.deepEqual(changed.map(({ id }) => id).sort(), ['a', 'c'], 'b was already on, as the second decision found');
  assert.deepEqual(decided, ['a', 'b', 'c', 'b']);
  assert.equal(await store.head(), 6);
});

test('rows are stored with the first chunk, even if nothing is decided or there are no streams', async () => {
  const { store, lamp } = opened();
  const notes = table<{ readonly text: string }>(store, { name: 'note', version: 1 });
  const note = (key: string) => ({ rows: [notes.put(key, { text: key }, undefined)] });
  await lamp.transactMany(['a'], make('hall'), cause, note('with a decision'));
  await lamp.transactMany(['a'], make('hall'), cause, note('without one'));
  await lamp.transactMany([], make('hall'), cause, note('without streams'));
  assert.equal((await notes.list({ limit: 10 })).items.length, 3);
  assert.equal(await store.head(), 1);
});
