import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Clock, logger, systemClock, systemRandom } from '@interlock/runtime';
import fc from 'fast-check';
import { type Category, category } from './category.ts';
import type { Loaded } from './category-definition.ts';
import type { Cause } from './cause.ts';
import { eventCodec } from './event-codec.ts';
import { memoryStore } from './memory-store.ts';
import { openPostgresStore } from './postgres-store.ts';
import { type RowKeeper, type RowKeeperOptions, rowKeeper } from './row-keeper.ts';
import { type EventStore, StoreUnavailable } from './store.ts';
import { createTestDatabase, type TestDatabase } from './test-database.ts';
import { type Lamp, type LampEvent, lamps, make, turn } from './test-lamps.ts';

type Lamps = Category<Lamp, LampEvent>;

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const log = logger({ service: 'test', clock: systemClock, write: () => undefined });
/** Keepers pause before they examine new events; these tests do not depend on how long. */
const hurried: Clock = { ...systemClock, sleep: (ms, ...signals) => systemClock.sleep(Math.min(ms, 1), ...signals) };
const keeperOf = (store: EventStore) => rowKeeper({ store, clock: hurried, log });
/** Builds tables in passes of a few events, so that streams span several pages. */
const inPasses = { from: 1, pageEvents: 2 };
const breakIt = (lamp: Lamp): readonly LampEvent[] => (lamp.status === 'whole' ? [{ type: 'LampBroken' }] : []);
/** Like `make`, but also replaces a broken lamp, so that a removed row is needed again. */
const makeAgain =
  (room: string) =>
  (lamp: Lamp): readonly LampEvent[] =>
    lamp.status === 'whole' ? [] : [{ type: 'LampMade', room }];
const rooms = ['hall', 'attic', 'cellar'];

let names = 0;
/** Lamps of a separate category, because the tests share a store. */
const release = (stateVersion: number, name: string) => ({ ...lamps, name, stateVersion });
const newName = (): string => `lamp${++names}`;

const everyRow = async (opened: Lamps): Promise<readonly Loaded<Lamp>[]> => opened.listAll({});

/** Asserts that the rows and every list equal the fold of the events, the first of which is behind `from`. */
const assertIsFold = async (store: EventStore, opened: Lamps, from = 0): Promise<void> => {
  const { name, evolve, initial, upcast } = opened.definition;
  const codec = eventCodec<LampEvent>(upcast ?? {});
  const states = new Map<string, { state: Lamp; version: number }>();
  for (const event of await store.feed(from, 1_000_000)) {
    if (!event.stream.startsWith(`${name}-`)) continue;
    const { state } = states.get(event.stream.slice(name.length + 1)) ?? { state: initial };
    const next = { state: evolve(state, codec.decode(event), event.version), version: event.version };
    states.set(event.stream.slice(name.length + 1), next);
  }
  const standing = [...states]
    .filter(([, { state }]) => state.status === 'whole')
    .map(([id, one]) => ({ id, ...one }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  assert.deepEqual(await everyRow(opened), standing);
  const lists = [
    ...rooms.map((value) => ({ index: 'room', value })),
    ...['true', 'false'].map((value) => ({ index: 'on', value })),
  ];
  for (const index of lists) {
    const listed = standing.filter(
      ({ state }) => state.status === 'whole' && String(index.index === 'room' ? state.room : state.on) === index.value,
    );
    assert.deepEqual(await opened.listAll({ index }), listed, JSON.stringify(index));
  }
};

/** A keeper, and the last position that it has examined. */
const watchedKeeper = (
  store: EventStore,
  pass?: RowKeeperOptions['pass'],
): { readonly keeper: RowKeeper; readonly reached: () => number } => {
  let reached = 0;
  const watched: EventStore = {
    ...store,
    async streamsBehind(query) {
      const found = await store.streamsBehind(query);
      reached = Math.max(reached, found.reached);
      return found;
    },
    async cursor(name) {
      const at = await store.cursor(name);
      // Another keeper of the table may have come this far before: then this one has nothing to examine.
      reached = Math.max(reached, at);
      return at;
    },
    async commit(commit, cause) {
      const committed = await store.commit(commit, cause);
      // A pass over the streams shows only in the cursor.
      reached = Math.max(reached, ...(commit.cursors ?? []).map(({ to }) => to));
      return committed;
    },
  };
  return {
    keeper: rowKeeper({ store: watched, clock: hurried, log, ...(pass ? { pass } : {}) }),
    reached: () => reached,
  };
};

/** Follows the feed until every keeper has examined all events, and has written the rows that these need. */
const followToHead = async (store: EventStore, keepers: readonly ReturnType<typeof watchedKeeper>[]): Promise<void> => {
  const ending = new AbortController();
  const following = keepers.map(({ keeper }) => keeper.follow(ending.signal));
  const head = await store.head();
  while (keepers.some(({ reached }) => reached() < head)) await systemClock.sleep(1);
  ending.abort();
  await Promise.all(following);
};

/** The memory store with latency: each call takes a random number of turns of the event loop. */
const slowed = (store: EventStore): EventStore => {
  const turns = async (): Promise<void> => {
    for (let n = Math.floor(systemRandom.fraction() * 3); n > 0; n--) await new Promise(setImmediate);
  };
  const slow =
    <Arguments extends readonly unknown[], Result>(call: (...given: Arguments) => Promise<Result>) =>
    async (...given: Arguments): Promise<Result> => {
      await turns();
      const result = await call(...given);
      await turns();
      return result;
    };
  return {
    ...store,
    commit: slow(store.commit),
    read: slow(store.read),
    readStreams: slow(store.readStreams),
    getStates: slow(store.getStates),
    streamsBehind: slow(store.streamsBehind),
    renewRows: slow(store.renewRows),
  };
};

let database: TestDatabase;

/** How each kind of store is opened, and how many generated cases it runs. */
const kinds: Readonly<Record<string, { readonly open: () => Promise<EventStore>; readonly runs: number }>> = {
  memory: { open: async () => slowed(memoryStore({ clock: systemClock })), runs: 100 },
  Postgres: {
    open: async () => {
      database = await createTestDatabase();
      return openPostgresStore({ url: database.url, clock: systemClock, pollIntervalMs: 20 });
    },
    runs: 25,
  },
};

const stores: EventStore[] = [];
after(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await database.drop();
});

for (const [kind, { open, runs }] of Object.entries(kinds)) {
  let store: EventStore;
  before(async () => {
    store = await open();
    stores.push(store);
  });

  describe(`building rows on the ${kind} store`, () => {
    test('G7: opening a new state version builds complete lists from position 0, without gone streams', async () => {
      const name = newName();
      const old = await keeperOf(store).open(release(1, name));
      for (const id of ['a', 'b', 'c', 'd']) await old.transact(id, make('hall'), cause);
      await old.transact('b', turn(true), cause);
      await old.transact('c', breakIt, cause);
      assert.deepEqual((await category(store, release(2, name)).list({ limit: 10 })).items, [], 'not built yet');
      const renewed = await keeperOf(store).open(release(2, name));
      assert.deepEqual(await everyRow(renewed), await everyRow(old));
      await assertIsFold(store, renewed);
    });

    test('G7: lists built in one pass over the streams are the same for every page size', async () => {
      const name = newName();
      const old = await keeperOf(store).open(release(1, name));
      for (const id of ['a', 'b', 'c', 'd', 'e']) await old.transact(id, make('hall'), cause);
      for (const on of [true, false, true, false, true]) await old.transact('b', turn(on), cause);
      await old.transact('c', breakIt, cause);
      await category(store, release(1, `${name}x`)).transact('a', make('attic'), cause);
      for (const pageEvents of [1, 2, 3, 1_000]) {
        const passing = rowKeeper({ store, clock: hurried, log, pass: { from: 1, pageEvents } });
        const renewed = await passing.open(release(1 + pageEvents, name));
        assert.deepEqual(await everyRow(renewed), await everyRow(old));
        await assertIsFold(store, renewed);
        assert.equal(await store.cursor(`rows/${name}_v${1 + pageEvents}`), await store.head());
      }
    });

    test('rows are built for more streams than fit in one page, and the cursor reaches the head', async () => {
      const name = newName();
      const old = category(store, release(1, name));
      await old.transactMany(
        Array.from({ length: 2_300 }, (_, n) => `l${n}`),
        make('attic'),
        cause,
      );
      const renewed = await keeperOf(store).open(release(2, name));
      assert.equal((await everyRow(renewed)).length, 2_300);
      assert.equal(await store.cursor(`rows/${name}_v2`), await store.head());
    });

    test('opening a table that is complete reads only the head and the cursor', async () => {
      const name = newName();
      await keeperOf(store).open(release(1, name));
      const asked: string[] = [];
      const watched = new Proxy(store, {
        get: (target, method) =>
          typeof method !== 'string'
            ? Reflect.get(target, method)
            : (...given: unknown[]) => {
                asked.push(method);
                return Reflect.apply(Reflect.get(target, method), target, given);
              },
      });
      await keeperOf(watched).open(release(1, name));
      assert.deepEqual(asked, ['head', 'cursor']);
    });

    test('after an interruption, opening continues where it stopped', async () => {
      const name = newName();
      await category(store, release(1, name)).transactMany(
        Array.from({ length: 2_300 }, (_, n) => `l${n}`),
        make('attic'),
        cause,
      );
      let left = 1;
      const dying: EventStore = {
        ...store,
        async renewRows(renewals) {
          if (left-- === 0) throw new StoreUnavailable('gone');
          return store.renewRows(renewals);
        },
      };
      await assert.rejects(keeperOf(dying).open(release(2, name)), StoreUnavailable);
      const done = (await everyRow(category(store, release(2, name)))).length;
      assert.ok(done > 0 && done < 2_300, `${done} rows were made before the end`);
      assert.ok((await store.cursor(`rows/${name}_v2`)) > 0);
      let made = 0;
      const counting: EventStore = {
        ...store,
        renewRows(renewals) {
          made += renewals.length;
          return store.renewRows(renewals);
        },
      };
      await assertIsFold(store, await keeperOf(counting).open(release(2, name)));
      assert.equal(made, 2_300 - done, 'no row is built twice');
    });
  });

  describe(`rows of several releases on the ${kind} store`, () => {
    test('loads and decisions include events of a release that writes another table', async () => {
      const name = newName();
      const [one, two] = [await keeperOf(store).open(release(1, name)), await keeperOf(store).open(release(2, name))];
      await one.transact('a', make('hall'), cause);
      await one.transact('a', turn(true), cause);
      assert.deepEqual((await two.load('a')).state, { status: 'whole', room: 'hall', on: true });
      assert.deepEqual((await two.transact('a', turn(true), cause)).events, [], 'it is on');
      assert.equal((await two.transact('a', turn(false), cause, { expected: 2 })).version, 3);
      assert.deepEqual((await one.loadMany(['a']))[0]?.version, 3);
      const { changed } = await one.transactMany(['a'], turn(true), cause);
      assert.equal(changed.length, 1);
      await two.transact('a', breakIt, cause);
      for (const opened of [one, two]) {
        await opened.renew(['a']);
        await assertIsFold(store, opened);
      }
    });

    test('a rebuild does not restore a row whose stream ended after it was read', async () => {
      const name = newName();
      const old = category(store, release(1, name));
      await old.transact('a', make('hall'), cause);
      const late: EventStore = {
        ...store,
        async renewRows(renewals) {
          // Between the fold and the write of the row, this release breaks the lamp, so it has no row.
          await category(store, release(2, name)).transact('a', breakIt, cause);
          return store.renewRows(renewals);
        },
      };
      const renewed = await keeperOf(late).open(release(2, name));
      assert.deepEqual(await everyRow(renewed), []);
    });

    test('a rebuild does not replace a newer row', async () => {
      const name = newName();
      const old = category(store, release(1, name));
      await old.transact('a', make('hall'), cause);
      const late: EventStore = {
        ...store,
        async renewRows(renewals) {
          await category(store, release(2, name)).transact('a', turn(true), cause);
          return store.renewRows(renewals);
        },
      };
      const renewed = await keeperOf(late).open(release(2, name));
      assert.equal((await renewed.list({ limit: 1 })).items[0]?.version, 2);
      await assertIsFold(store, renewed);
    });

    test('while a keeper follows, events of another release appear in the lists', async () => {
      const name = newName();
      const keeper = keeperOf(store);
      const two = await keeper.open(release(2, name));
      const ending = new AbortController();
      const following = keeper.follow(ending.signal);
      const one = category(store, release(1, name));
      await one.transact('a', make('cellar'), cause);
      while ((await two.list({ index: { index: 'room', value: 'cellar' }, limit: 1 })).items.length === 0)
        await systemClock.sleep(1);
      await one.transact('a', breakIt, cause);
      while ((await two.list({ limit: 1 })).items.length > 0) await systemClock.sleep(1);
      ending.abort();
      await following;
      assert.equal(await store.cursor(`rows/${name}_v2`), await store.head(), 'the next start has nothing to do');
    });

    test('a keeper does not examine events of its own process again, but those of others', async () => {
      const name = newName();
      const looked: number[] = [];
      const watched: EventStore = {
        ...store,
        streamsBehind(query) {
          looked.push(query.after);
          return store.streamsBehind(query);
        },
      };
      const keeper = keeperOf(watched);
      const own = await keeper.open(release(2, name));
      const before = await store.head();
      looked.length = 0;
      const ids = Array.from({ length: 3_000 }, (_, n) => `l${n}`);
      await own.transactMany(ids, make('attic'), cause);
      await category(store, release(1, name)).transact('other', make('cellar'), cause);
      await own.transact('own', make('attic'), cause);
      const ending = new AbortController();
      const following = keeper.follow(ending.signal);
      while ((await own.list({ prefix: 'other', limit: 1 })).items.length === 0) await systemClock.sleep(1);
      ending.abort();
      await following;
      assert.deepEqual(looked.slice(0, 1), [before + 3_000]);
      assert.equal((await everyRow(own)).length, 3_002);
    });
  });

  describe(`random writers during rebuilds on the ${kind} store`, () => {
    test('G7: with writers of several releases during rebuilds, the rows end as the fold of the events', async () => {
      const step = fc.record({
        release: fc.constantFrom(1, 2),
        id: fc.constantFrom('a', 'b', 'c'),
        request: fc.oneof(
          fc.constantFrom(...rooms).map((room) => ({ what: 'make' as const, room })),
          fc.constantFrom(true, false).map((on) => ({ what: 'turn' as const, on })),
          fc.constant({ what: 'break' as const }),
        ),
        pauses: fc.nat(3),
      });
      const script = fc.array(step, { maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(script, fc.array(script, { minLength: 2, maxLength: 4 }), async (past, writers) => {
          const name = newName();
          const from = await store.head();
          const at = (version: number) => category(store, release(version, name));
          const play = async (steps: typeof past, yields: boolean): Promise<void> => {
            for (const { release: version, id, request, pauses } of steps) {
              for (let n = 0; yields && n < pauses; n++) await new Promise(setImmediate);
              await at(version).transactMany(
                [id],
                request.what === 'make'
                  ? makeAgain(request.room)
                  : request.what === 'break'
                    ? breakIt
                    : (lamp) => (lamp.status === 'whole' ? turn(request.on)(lamp) : []),
                cause,
              );
            }
          };
          await play(past, false);
          const keepers = [
            watchedKeeper(store, inPasses),
            watchedKeeper(store),
            watchedKeeper(store, inPasses),
          ] as const;
          const [[one, two]] = await Promise.all([
            Promise.all([
              keepers[0].keeper.open(release(1, name)),
              keepers[1].keeper.open(release(2, name)),
              keepers[2].keeper.open(release(2, name)),
            ]),
            ...writers.map((steps) => play(steps, true)),
          ]);
          await followToHead(store, keepers);
          for (const opened of [one, two]) await assertIsFold(store, opened, from);
        }),
        // The interleaving differs in each run, so a smaller example may pass by chance.
        { numRuns: runs, endOnFailure: true },
      );
    });
  });
}
