import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Commit, type EventStore, memoryStore, type RowChange } from '@interlock/event-store';
import { systemRandom as random, systemClock } from '@interlock/runtime';
import type { AuditEntry } from './entry.ts';
import { AuditWriter } from './writer.ts';

const entryFor = (resource: string, differences: Partial<AuditEntry> = {}): AuditEntry => ({
  time: 1,
  operation: 'KeyUnwrap',
  key: 'vaults/v1/keys/k1/versions/1',
  requestUri: 'https://v1.vault.test/keys/k1/1',
  caller: 'principals/p',
  tenant: 'tenants/t',
  httpStatusCode: 200,
  result: 'success',
  reason: '',
  resource,
  correlationId: resource,
  traceId: '',
  durationUs: 1,
  callerAddress: '127.0.0.1:1',
  ...differences,
});

/** A writer whose patience the test ends, and the number of rows of each commit. */
const openWriter = () => {
  const real = memoryStore({ clock: systemClock });
  const commits: number[] = [];
  const stored: (readonly RowChange[])[] = [];
  const refused = new Set<string>();
  const store: EventStore = {
    ...real,
    commit: async (commit: Commit, cause) => {
      const rows = commit.rows ?? [];
      commits.push(rows.length);
      if (resourcesIn(rows).some((resource) => refused.has(resource))) throw new Error('the database refuses it');
      stored.push(rows);
      // Rows of other tables are inspected, not stored.
      return real.commit({ ...commit, rows: rows.filter(({ table }) => table !== 'other') }, cause);
    },
  };
  let wake: (() => void) | undefined;
  const alarm = (_ms: number, then: () => void) => {
    wake = then;
    return {
      cancel: () => {
        wake = undefined;
      },
    };
  };
  const writer = new AuditWriter({ store, clock: { now: systemClock.now, alarm }, random });
  const write = (resource: string, differences?: Partial<AuditEntry>) =>
    writer.write([{ vault: 'v1', entry: entryFor(resource, differences) }]);
  return {
    writer,
    write,
    commits,
    stored,
    isPatient: () => wake !== undefined,
    losePatience: () => wake?.(),
    refuse: (resource: string) => refused.add(resource),
    rowsStored: () => stored.flatMap(resourcesIn),
  };
};

/** The resources of the entries in these rows of the audit log. */
const resourcesIn = (rows: readonly RowChange[]): string[] =>
  [...JSON.stringify(rows).matchAll(/"resource":"([^"]*)"/g)].map(([, resource = '']) => resource);

test('G9: a write waits for announced writes and shares their commit; without an announcement it does not wait', async () => {
  const { writer, write, commits, isPatient } = openWriter();
  await write('alone');
  assert.deepEqual(commits, [1]);

  const [one, other] = [writer.expect(), writer.expect()];
  const first = write('one');
  one();
  await nextTurn();
  assert.deepEqual([commits.length, isPatient()], [1, true]);
  const second = write('other');
  other();
  await Promise.all([first, second]);
  assert.deepEqual([commits, isPatient()], [[1, 1], false], 'alike, so one row holds both');
});

test('G9: a write waits for announced writes until its patience ends, and not for withdrawn announcements', async () => {
  const { writer, write, commits, losePatience } = openWriter();
  const late = writer.expect();
  const impatient = write('one');
  await nextTurn();
  losePatience();
  await impatient;
  assert.equal(commits.length, 1);

  const waiting = write('two');
  await nextTurn();
  assert.equal(commits.length, 1);
  late();
  late();
  await waiting;
  assert.equal(commits.length, 2);

  // A second call of the same withdrawal does not count for another announcement.
  const next = writer.expect();
  const third = write('three');
  await nextTurn();
  assert.equal(commits.length, 2);
  next();
  await third;
});

test('G9: if one of the writes in a commit cannot be stored, only that write fails', async () => {
  const { writer, write, rowsStored, refuse } = openWriter();
  refuse('bad');
  const arrived = writer.expect();
  const all = [write('one'), write('bad'), write('two')];
  arrived();
  const outcomes = await Promise.allSettled(all);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(rowsStored().sort(), ['one', 'two']);
});

test('G9: requests that are answered together share a commit; if one cannot be stored, only that one fails', async () => {
  const { writer, commits, rowsStored, refuse } = openWriter();
  const records = ['one', 'bad', 'two'].map((name) => ({
    entries: [{ vault: 'v1', entry: entryFor(name) }],
    also: [],
  }));
  assert.deepEqual(await writer.writeEach(records), [undefined, undefined, undefined]);
  assert.deepEqual(commits, [1]);
  refuse('bad');
  const failures = await writer.writeEach(records);
  assert.deepEqual(
    failures.map((failure) => failure instanceof Error),
    [false, true, false],
  );
  assert.deepEqual(rowsStored().sort(), ['bad', 'one', 'one', 'two', 'two']);
  assert.deepEqual(await writer.writeEach([]), []);
  assert.deepEqual(
    await writer.writeEach([{ entries: [], also: [] }]),
    [undefined],
    'nothing to be recorded is no failure',
  );
});

test('a row holds no more than 64 entries, and every one of them is stored', async () => {
  const { writer, write, commits, rowsStored } = openWriter();
  const arrived = writer.expect();
  const names = Array.from({ length: 65 }, (_, n) => `entry ${n}`);
  const all = names.map((name) => write(name));
  arrived();
  await Promise.all(all);
  assert.deepEqual(commits, [2]);
  assert.deepEqual(rowsStored().sort(), names.sort());
});

test('G9: a row change passed with an entry is stored in the same commit, once even if several entries pass it', async () => {
  const { writer, stored } = openWriter();
  const change: RowChange = { table: 'other', key: 'k', row: {}, version: 0, removed: [], added: [] };
  const arrived = writer.expect();
  const all = ['one', 'two'].map((name) => writer.write([{ vault: 'v1', entry: entryFor(name) }], [change]));
  arrived();
  await Promise.all(all);
  assert.deepEqual(
    stored.map((rows) => rows.filter((row) => row === change).length),
    [1],
  );
});

test('entries that differ in reason or count are stored in separate rows', async () => {
  const { writer, write, commits } = openWriter();
  const arrived = writer.expect();
  const all = [
    write('one'),
    write('two', { reason: 'KEY_DISABLED' }),
    write('three'),
    write('four', { occurrences: 2 }),
  ];
  arrived();
  await Promise.all(all);
  assert.deepEqual(commits, [3]);
});
