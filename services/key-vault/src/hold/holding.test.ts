import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Cause, type EventStore, memoryStore } from '@interlock/event-store';
import { logger, seededRandom, systemRandom, virtualClock } from '@interlock/runtime';
import { fileHistoryMarks, type HistoryMark, memoryHistoryMarks } from './history-marks.ts';
import { type HoldTerms, openHolding } from './holding.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/operator' };
const onHold = { code: 'UNAVAILABLE', reason: 'KEY_VAULT_ON_HOLD' };

const world = () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const lines: string[] = [];
  const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
  const storeOf = async (events: number): Promise<EventStore> => {
    const store = memoryStore({ clock });
    await append(store, events);
    return store;
  };
  const append = async (store: EventStore, events: number): Promise<void> => {
    const expected = (await store.read('key-1')).length;
    const added = Array.from({ length: events }, () => ({ type: 'Changed', schema: 1, data: {} }));
    if (events > 0) await store.commit({ appends: [{ stream: 'key-1', expected, events: added }] }, cause);
  };
  const open = (store: EventStore, terms: HoldTerms) => openHolding({ store, clock, random, log, terms });
  return { clock, lines, storeOf, append, open };
};

test('a store that was not restored is never on hold, and the history mark follows it', async () => {
  const { clock, storeOf, append, open } = world();
  const marks = memoryHistoryMarks();
  const store = await storeOf(3);
  const holding = await open(store, { marks });
  const ending = new AbortController();
  const watching = holding.watch(ending.signal);
  await append(store, 4);
  await clock.until(async () => (await marks.read())?.position === 7);
  holding.check();
  const mostMs = 300;
  const before = clock.now();
  await append(store, 1);
  await clock.until(async () => (await marks.read())?.position === 8);
  assert.ok(clock.now() - before <= mostMs, 'it follows a change soon, and not with the next look');
  await append(store, 2);
  ending.abort();
  await watching;
  assert.equal((await marks.read())?.position, 10, 'an orderly stop leaves it where the store is');
  (await open(store, { marks })).check();
});

test('a stop during a check of the store still leaves the mark at the position of the store', async () => {
  const { clock, storeOf, append, open } = world();
  const marks = memoryHistoryMarks();
  const store = await storeOf(3);
  const ending = new AbortController();
  const write = async (mark: HistoryMark): Promise<void> => {
    // The store was already read: events from here on are for the next check.
    if (mark.position === 4) {
      await append(store, 1);
      ending.abort();
    }
    await marks.write(mark);
  };
  const holding = await open(store, { marks: { ...marks, write } });
  const watching = holding.watch(ending.signal);
  await append(store, 1);
  await clock.drive(watching);
  assert.equal((await marks.read())?.position, 5);
});

test('after a restore, no replica uses keys until an operator confirms the key states once', async () => {
  const { storeOf, append, open } = world();
  const marks = memoryHistoryMarks();
  await open(await storeOf(7), { marks });
  const restored = await storeOf(4);
  const [one, other] = [await open(restored, { marks }), await open(restored, { marks })];
  const hold = one.current() ?? assert.fail('it is on hold');
  assert.deepEqual([hold.reason, hold.position, hold.knownPosition], ['STORE_WENT_BACK', 4, 7]);
  assert.throws(() => one.check(), {
    ...onHold,
    message: new RegExp(
      `position 4 and had reached 7: it was restored .*, or DATABASE_URL names another database.*${hold.id}`,
    ),
  });
  assert.throws(() => other.check(), onHold);
  await append(restored, 1);
  assert.throws(() => one.check(), onHold, 'what is put right meanwhile confirms nothing');

  await assert.rejects(one.confirm('another', cause), { code: 'NOT_FOUND', reason: 'HOLD_NOT_FOUND' });
  await one.confirm(hold.id, cause);
  one.check();
  await one.confirm(hold.id, cause);
  (await open(restored, { marks })).check();
  assert.equal((await marks.read())?.position, 5);
  assert.notEqual((await marks.read())?.id, hold.id, 'the next restore is another hold');
});

test('a replica ends its hold after another replica has confirmed it', async () => {
  const { clock, storeOf, open } = world();
  const marks = memoryHistoryMarks();
  await open(await storeOf(7), { marks });
  const restored = await storeOf(4);
  const [one, other] = [await open(restored, { marks }), await open(restored, { marks })];
  const ending = new AbortController();
  const watching = other.watch(ending.signal);
  await one.confirm(one.current()?.id ?? '', cause);
  await clock.until(async () => other.current() === undefined);
  other.check();
  ending.abort();
  await watching;
});

test("a read of the store's head detects a restore under a running replica", async () => {
  const { storeOf, open } = world();
  let store = await storeOf(7);
  const changing: EventStore = { ...store, head: () => store.head() };
  const holding = await open(changing, { marks: memoryHistoryMarks() });
  holding.check();
  store = await storeOf(5);
  assert.equal(await holding.head(), 5);
  assert.throws(() => holding.check(), onHold);
});

test('G1: a store that goes back during a confirmation starts a new hold', async () => {
  const { storeOf, open } = world();
  const first = await storeOf(7);
  let store = first;
  let goesBack = false;
  const changing: EventStore = {
    ...first,
    head: () => store.head(),
    async getRows(table, keys) {
      const rows = await first.getRows(table, keys);
      if (goesBack) {
        goesBack = false;
        store = await storeOf(5);
        // As every use of a key does first.
        await holding.head();
      }
      return rows;
    },
  };
  const holding = await open(changing, { marks: memoryHistoryMarks(), asked: 'drill' });
  goesBack = true;
  await holding.confirm('drill', cause);
  assert.equal(holding.current()?.reason, 'STORE_WENT_BACK');
  assert.throws(() => holding.check(), onHold);
});

test('concurrent reads of the head that return out of order are not taken for a restore', async () => {
  const { storeOf, append, open } = world();
  const store = await storeOf(3);
  const late = Promise.withResolvers<void>();
  let isLate = false;
  const slow: EventStore = {
    ...store,
    async head() {
      const position = await store.head();
      if (isLate) await late.promise;
      return position;
    },
  };
  const holding = await open(slow, { marks: memoryHistoryMarks() });
  isLate = true;
  const first = holding.head();
  await Promise.resolve();
  isLate = false;
  await append(store, 2);
  assert.equal(await holding.head(), 5);
  late.resolve();
  assert.equal(await first, 3);
  holding.check();
});

test('a requested hold lasts until its name is confirmed, and does not start again', async () => {
  const { storeOf, open } = world();
  const marks = memoryHistoryMarks();
  const store = await storeOf(3);
  const holding = await open(store, { marks, asked: 'drill-1' });
  assert.equal(holding.current()?.reason, 'ASKED_FOR');
  assert.throws(() => holding.check(), { ...onHold, message: /the setting HOLD requests it.*drill-1/ });
  await holding.confirm('drill-1', cause);
  holding.check();
  (await open(store, { marks, asked: 'drill-1' })).check();
  assert.equal((await open(store, { marks, asked: 'drill-2' })).current()?.id, 'drill-2');
});

test('a restore with a requested hold needs two confirmations, of the restore and of the request', async () => {
  const { storeOf, open } = world();
  const marks = memoryHistoryMarks();
  await open(await storeOf(7), { marks });
  const holding = await open(await storeOf(4), { marks, asked: 'restore' });
  const first = holding.current() ?? assert.fail('it is on hold');
  assert.equal(first.reason, 'STORE_WENT_BACK');
  await holding.confirm(first.id, cause);
  assert.equal(holding.current()?.id, 'restore');
  await holding.confirm('restore', cause);
  holding.check();
});

const folder = mkdtempSync(join(tmpdir(), 'interlock-history-'));
after(() => rmSync(folder, { recursive: true }));

test('a history mark file is replaced without leftovers, has mode 0600, and is refused if malformed', async () => {
  const file = join(folder, 'history.json');
  const marks = fileHistoryMarks(file, systemRandom);
  assert.equal(await marks.read(), undefined);
  await marks.write({ id: 'a', position: 1 });
  await marks.write({ id: 'a', position: 2 });
  assert.deepEqual(await fileHistoryMarks(file, systemRandom).read(), { id: 'a', position: 2 });
  assert.deepEqual(readdirSync(folder), ['history.json']);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(file, '{"id":"a"}');
  await assert.rejects(marks.read(), /is not a mark of the store's history.*HOLD/);
});
