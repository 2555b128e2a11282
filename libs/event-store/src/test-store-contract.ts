import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, describe, test } from 'node:test';
import type { Cause } from './cause.ts';
import {
  type Commit,
  CursorConflict,
  type EventStore,
  type NewEvent,
  type StreamName,
  type StreamPiece,
  VersionConflict,
} from './store.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p', traceparent: '00-1-2-01' };
const event = (type: string, data: NewEvent['data'] = {}): NewEvent => ({ type, schema: 1, data });
const append = (stream: StreamName, expected: number, ...types: string[]) => ({
  stream,
  expected,
  events: types.map((type) => event(type)),
});

/** A row with at most one entry in the index `colour`. */
const coloured = (
  table: string,
  key: string,
  { version = 1, was, is }: { readonly version?: number; readonly was?: string; readonly is?: string },
) => {
  const entries = (value?: string) => (value === undefined ? [] : [{ index: 'colour', value }]);
  return { table, key, row: { version }, version, removed: entries(was), added: entries(is) };
};

/** Keys of the rows of a table that a query finds. */
const keysOf = (store: EventStore, table: string) => async (query: object) =>
  (await store.listRows({ table, limit: 10, ...query })).map(({ key }) => key);

/** Events of one stream: what a commit stores, and when it is refused. */
const streamTests = (opened: () => EventStore): void => {
  test('an unwritten stream is empty, an unwritten cursor is at 0', async () => {
    const store = opened();
    assert.deepEqual(await store.read('none-1'), []);
    assert.equal(await store.cursor('none'), 0);
  });

  test('stored events are read back with all their fields', async () => {
    const store = opened();
    const head = await store.head();
    const { positions } = await store.commit(
      {
        appends: [
          {
            stream: 'thing-a/b-c',
            expected: 0,
            events: [event('Made', { size: 3, of: ['x', null] }), event('Seen')],
          },
        ],
      },
      cause,
    );
    assert.deepEqual(positions, [head + 1, head + 2]);
    const [made, seen] = await store.read('thing-a/b-c');
    assert.ok(made && seen);
    const { id, time, ...rest } = made;
    assert.equal(id, 'thing-a/b-c@1');
    assert.ok(Math.abs(time - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      position: head + 1,
      stream: 'thing-a/b-c',
      version: 1,
      type: 'Made',
      schema: 1,
      data: { size: 3, of: ['x', null] },
      cause,
    });
    assert.equal(seen.version, 2);
    // What a commit stores after another event of the stream follows from that event.
    assert.deepEqual(seen.cause, { ...cause, causes: [{ id: made.id, kind: 'step' }] });
    assert.deepEqual(await store.read('thing-a/b-c', 1), [seen]);
  });

  test('texts and numbers of every kind are read back unchanged', async () => {
    const store = opened();
    const data = {
      quote: `'"\\ {}`,
      unicode: 'é 漢 𝄞',
      big: Number.MAX_SAFE_INTEGER,
      no: false,
      nested: { a: [1, { b: null }] },
    };
    await store.commit({ appends: [{ stream: 'odd-1', expected: 0, events: [event('Odd', data)] }] }, cause);
    assert.deepEqual((await store.read('odd-1'))[0]?.data, data);
  });

  test('an append at the wrong version is refused, and nothing of its commit is stored', async () => {
    const store = opened();
    await store.commit({ appends: [append('conflict-1', 0, 'A')] }, cause);
    for (const expected of [0, 2, 7]) {
      const commit = store.commit(
        {
          appends: [append('conflict-other', 0, 'B'), append('conflict-1', expected, 'B')],
          rows: [{ table: 't_v1', key: `no${expected}`, row: {}, version: 0, removed: [], added: [] }],
          cursors: [{ name: `no${expected}`, from: 0, to: 1 }],
        },
        cause,
      );
      await assert.rejects(commit, (error: unknown) => {
        assert.ok(error instanceof VersionConflict);
        assert.deepEqual(error.streams, ['conflict-1']);
        return true;
      });
      assert.deepEqual(await store.getRows('t_v1', [`no${expected}`]), []);
      assert.equal(await store.cursor(`no${expected}`), 0);
    }
    assert.deepEqual(await store.read('conflict-other'), []);
  });

  test('each of several concurrent commits succeeds or fails alone', async () => {
    const store = opened();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => store.commit({ appends: [append(`race-${n % 5}`, 0, `E${n}`)] }, cause)),
    );
    const stored = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    assert.equal(stored.length, 5);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof VersionConflict, String(outcome.reason));
    }
    for (let n = 0; n < 5; n++) assert.equal((await store.read(`race-${n}`)).length, 1);
  });
};

/** Reading across streams, and waiting for new events. */
const feedTests = (opened: () => EventStore): void => {
  test('the feed returns each event once, in order and without gaps', async () => {
    const store = opened();
    await Promise.all(
      Array.from({ length: 30 }, (_, n) => store.commit({ appends: [append(`feed-${n}`, 0, 'A', 'B')] }, cause)),
    );
    const head = await store.head();
    const seen = [];
    for (let position = 0; ; ) {
      const events = await store.feed(position, 7);
      const last = events.at(-1);
      if (!last) break;
      assert.ok(events.length <= 7);
      seen.push(...events.map((e) => e.position));
      position = last.position;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: head }, (_, n) => n + 1),
    );
  });

  test('readStreams returns the streams of a category one after the other, with any page size', async () => {
    const store = opened();
    const stored = { 'kind-b': 3, 'kind-a': 1, 'kind-a/x': 2, 'kind-z é': 1, 'kindred-a': 2, 'kin-a': 1 };
    for (const [stream, count] of Object.entries(stored)) {
      const events = Array.from({ length: count }, (_, n) => event('Made "so"', { n: n + 1, text: '[,]"' }));
      await store.commit({ appends: [{ stream: stream as StreamName, expected: 0, events }] }, cause);
    }
    for (const limit of [1, 2, 3, 100]) {
      const seen: string[] = [];
      let after: StreamPiece | undefined;
      for (;;) {
        const pieces = await store.readStreams({ category: 'kind', limit, ...(after ? { after } : {}) });
        after = pieces.at(-1);
        if (!after) break;
        assert.ok(pieces.reduce((sum, piece) => sum + piece.events.length, 0) <= limit);
        for (const { stream, version, events } of pieces) {
          for (const [at, { type, schema, data }] of events.entries()) {
            const n = version - events.length + at + 1;
            assert.deepEqual({ type, schema, data }, event('Made "so"', { n, text: '[,]"' }));
            seen.push(`${stream} ${n}`);
          }
        }
      }
      assert.deepEqual(
        seen,
        ['kind-a 1', 'kind-a/x 1', 'kind-a/x 2', 'kind-b 1', 'kind-b 2', 'kind-b 3', 'kind-z é 1'],
        `${limit} at a time`,
      );
    }
  });

  test('waitForEvents ends when an event is stored, and when its signal is aborted', async () => {
    const store = opened();
    const head = await store.head();
    const waiting = store.waitForEvents(head, new AbortController().signal);
    await store.commit({ appends: [append('wait-1', 0, 'A')] }, cause);
    assert.equal(await waiting, true);
    assert.equal(await store.waitForEvents(head, new AbortController().signal), true);
    const abort = new AbortController();
    const never = store.waitForEvents(await store.head(), abort.signal);
    abort.abort();
    assert.equal(await never, false);
  });

  test('waitForEvents leaves no listener on its signal', async () => {
    const store = opened();
    const { signal } = new AbortController();
    for (let version = 0; version < 3; version += 1) {
      const waiting = store.waitForEvents(await store.head(), signal);
      await store.commit({ appends: [append('wait-2', version, 'A')] }, cause);
      assert.equal(await waiting, true);
    }
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
};

/** State rows: their versions and indexes. */
const rowTests = (opened: () => EventStore): void => {
  test('rows are put, replaced, found by index and key, and removed', async () => {
    const store = opened();
    await store.commit(
      { rows: ['a/1', 'a/2', 'b/1', 'b/2'].map((key) => coloured('thing_v1', key, { is: 'red' })) },
      cause,
    );
    await store.commit({ rows: [coloured('thing_v1', 'a/2', { version: 2, was: 'red', is: 'blue' })] }, cause);
    const keys = keysOf(store, 'thing_v1');
    const [red, blue] = ['red', 'blue'].map((value) => ({ index: { index: 'colour', value } }));
    assert.deepEqual(await keys({}), ['a/1', 'a/2', 'b/1', 'b/2']);
    assert.deepEqual(await keys({ ...red }), ['a/1', 'b/1', 'b/2']);
    assert.deepEqual(await keys({ ...blue }), ['a/2']);
    assert.deepEqual(await keys({ index: { index: 'other', value: 'red' } }), []);
    assert.deepEqual(await keys({ prefix: 'b/' }), ['b/1', 'b/2']);
    assert.deepEqual(await keys({ prefix: 'a/', after: 'a/1' }), ['a/2']);
    assert.deepEqual(await keys({ after: 'a/1', limit: 2 }), ['a/2', 'b/1']);
    assert.deepEqual(await keys({ ...red, after: 'a/1', limit: 1 }), ['b/1']);
    const count = (value: string) => store.countRows({ table: 'thing_v1', index: { index: 'colour', value } });
    assert.deepEqual([await count('red'), await count('blue'), await count('green')], [3, 1, 0]);
    assert.deepEqual(await store.getRows('thing_v1', ['a/2', 'missing']), [
      { key: 'a/2', row: { version: 2 }, version: 2 },
    ]);
    await store.commit({ rows: [{ ...coloured('thing_v1', 'a/2', { version: 3, was: 'blue' }), row: null }] }, cause);
    assert.deepEqual(await keys({}), ['a/1', 'b/1', 'b/2']);
    assert.deepEqual(await keys({ ...blue }), []);
    assert.deepEqual(await store.listRows({ table: 'thing_v2', limit: 5 }), []);
  });

  test('queries at the same time each get their own rows, in order and within their limit', async () => {
    const store = opened();
    const rows = ['a/1', 'b/1', 'b/2'].map((key) => coloured('busy_v1', key, { is: 'red' }));
    await store.commit({ rows: [...rows, coloured('busy_v1', 'a/2', { is: 'blue' })] }, cause);
    const keys = keysOf(store, 'busy_v1');
    const values = ['red', 'blue', 'green', ...Array.from({ length: 30 }, (_, n) => `colour ${n}`), 'red'];
    const found = await Promise.all(
      values.flatMap((value) => [1, 10].map((limit) => keys({ index: { index: 'colour', value }, limit }))),
    );
    const [red, blue] = [['a/1', 'b/1', 'b/2'], ['a/2']];
    assert.deepEqual(found.slice(0, 4), [red.slice(0, 1), red, blue, blue]);
    assert.deepEqual(found.slice(4, -2).flat(), []);
    assert.deepEqual(found.slice(-2), [red.slice(0, 1), red]);
  });

  test('a row of a lower version never overwrites a higher one', async () => {
    const store = opened();
    const at = (version: number) => ({
      table: 'guard_v1',
      key: 'k',
      row: { version },
      version,
      removed: [],
      added: [],
    });
    await store.commit({ rows: [at(5)] }, cause);
    await store.commit({ rows: [at(4)] }, cause);
    await store.commit({ rows: [{ ...at(3), row: null }] }, cause);
    assert.deepEqual(await store.getRows('guard_v1', ['k']), [{ key: 'k', row: { version: 5 }, version: 5 }]);
  });

  test('a row can have the version Number.MAX_SAFE_INTEGER', async () => {
    const store = opened();
    const row = { table: 'far_v1', key: 'k', row: {}, version: Number.MAX_SAFE_INTEGER, removed: [], added: [] };
    await store.commit({ rows: [row] }, cause);
    assert.deepEqual(await store.getRows('far_v1', ['k']), [{ key: 'k', row: {}, version: Number.MAX_SAFE_INTEGER }]);
  });

  test('an index entry that is added twice exists once, and one that is removed twice is gone', async () => {
    const store = opened();
    const entry = { index: 'colour', value: 'red' };
    const put = (version: number, removed: (typeof entry)[], added: (typeof entry)[]) =>
      store.commit({ rows: [{ table: 'twice_v1', key: 'k', row: { version }, version, removed, added }] }, cause);
    const found = async () =>
      (await store.listRows({ table: 'twice_v1', index: entry, limit: 9 })).map(({ version }) => version);
    await put(1, [], [entry, entry]);
    assert.deepEqual(await found(), [1]);
    await put(2, [], [entry]);
    assert.deepEqual(await found(), [2]);
    await put(3, [entry, entry], []);
    assert.deepEqual(await found(), []);
    await put(4, [entry], []);
    assert.deepEqual(await found(), []);
  });

  test('a key with a NUL has no row, and does not fail other reads of the same turn', async () => {
    const store = opened();
    const row = { table: 'nul_v1', key: 'k', row: {}, version: 1, removed: [], added: [{ index: 'i', value: 'v' }] };
    await store.commit({ rows: [row] }, cause);
    const listed = (value: string) => store.listRows({ table: 'nul_v1', index: { index: 'i', value }, limit: 9 });
    const under = (prefix: string) => store.listRows({ table: 'nul_v1', prefix, limit: 9 });
    for (const look of [(key: string) => store.getRows('nul_v1', [key]), under]) {
      assert.deepEqual(await Promise.all([look('k'), look('k\0')]), [[{ key: 'k', row: {}, version: 1 }], []]);
    }
    assert.deepEqual(await Promise.all([listed('v'), listed('v\0')]), [[{ key: 'k', row: {}, version: 1 }], []]);
    const table = { table: 'nul_v1', category: 'nul' };
    assert.deepEqual(await store.getStates(table, ['a\0', 'a']), []);
  });
};

/** Cursors, and what one commit may contain. */
const commitTests = (opened: () => EventStore): void => {
  test('a cursor moves only from its current value, in one commit with the effect', async () => {
    const store = opened();
    const move = (from: number, to: number, key: string) =>
      store.commit(
        {
          cursors: [{ name: 'inbox', from, to }],
          rows: [{ table: 'effect_v1', key, row: {}, version: 0, removed: [], added: [] }],
        },
        cause,
      );
    await move(0, 4, 'first');
    await assert.rejects(move(0, 5, 'again'), CursorConflict);
    await assert.rejects(move(3, 5, 'wrong'), CursorConflict);
    await move(4, 9, 'second');
    assert.equal(await store.cursor('inbox'), 9);
    assert.deepEqual(
      (await store.listRows({ table: 'effect_v1', limit: 9 })).map((r) => r.key),
      ['first', 'second'],
    );
  });

  test('concurrent moves that continue each other succeed up to the first one that fails', async () => {
    const store = opened();
    const move = (from: number, to: number, stream: StreamName, expected = 0) =>
      store.commit({ cursors: [{ name: 'chain', from, to }], appends: [append(stream, expected, 'Moved')] }, cause);
    // A running commit first, so that a store with group commit puts the others into one transaction.
    const begun = store.commit({ appends: [append('chain-0', 0, 'Begun')] }, cause);
    await Promise.all([begun, move(0, 2, 'chain-1'), move(2, 2, 'chain-2'), move(2, 5, 'chain-3')]);
    assert.equal(await store.cursor('chain'), 5);
    const outcomes = await Promise.allSettled([
      store.commit({ appends: [append('chain-0', 1, 'Begun')] }, cause),
      move(5, 5, 'chain-4'),
      move(5, 7, 'chain-1'),
      move(7, 8, 'chain-5'),
      move(8, 9, 'chain-6'),
      move(5, 6, 'chain-7'),
    ]);
    assert.deepEqual(
      outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'stored' : outcome.reason.name)),
      ['stored', 'stored', 'VersionConflict', 'CursorConflict', 'CursorConflict', 'stored'],
    );
    assert.equal(await store.cursor('chain'), 6);
    for (const stream of ['chain-5', 'chain-6'] as const) assert.deepEqual(await store.read(stream), []);
  });

  test('a commit that names a stream, row or cursor twice is refused, and nothing of it is stored', async () => {
    const store = opened();
    const row = { table: 'once_v1', key: 'k', row: {}, version: 1, removed: [], added: [] };
    const fleet = Array.from({ length: 1_000 }, (_, n) => ({ ...row, key: `k${n}` }));
    const move = (from: number, to: number) => ({ name: 'once', from, to });
    const twice: Readonly<Record<string, Commit>> = {
      'two puts of a row': { rows: [row, row] },
      'a put and a removal of a row': { rows: [row, { ...row, row: null }] },
      'two puts of a row in a large commit': { rows: [...fleet, { ...row, key: 'k7' }] },
      'a put and a removal of a row in a large commit': { rows: [...fleet, { ...row, key: 'k7', row: null }] },
      'two first appends to a stream': { appends: [append('once-1', 0, 'A'), append('once-1', 0, 'B')] },
      'two consecutive appends to a stream': { appends: [append('once-1', 0, 'A'), append('once-1', 1, 'B')] },
      'two consecutive moves of a cursor': { cursors: [move(0, 1), move(1, 2)] },
      'the same move of a cursor': { cursors: [move(0, 1), move(0, 1)] },
    };
    for (const [what, commit] of Object.entries(twice)) {
      const other = append('once-2', 0, 'A');
      const whole = { ...commit, appends: [other, ...(commit.appends ?? [])] };
      await assert.rejects(store.commit(whole, cause), what);
      assert.deepEqual(await store.listRows({ table: 'once_v1', limit: 9 }), [], what);
      for (const stream of ['once-1', 'once-2'] as const) assert.deepEqual(await store.read(stream), [], what);
      assert.equal(await store.cursor('once'), 0, what);
    }
  });
};

/** The contract of an event store, run for each implementation. */
export const storeContract = (name: string, open: () => Promise<EventStore>): void => {
  describe(`${name} event store`, () => {
    let store: EventStore;
    before(async () => {
      store = await open();
    });
    after(() => store.close());
    for (const tests of [streamTests, feedTests, rowTests, commitTests]) tests(() => store);
  });
};
