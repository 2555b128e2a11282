import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveRows } from './live-rows.ts';
import type { HostRow } from './rows.ts';

const host = (name: string, diskCount = 0): HostRow => ({ name, state: 'HOST_SERVING', diskCount });

/** What a viewer has after every part since a number. */
const readAll = (rows: LiveRows, after = 0, bytesMax = 1_000) => {
  const has = new Map<string, unknown>();
  let [sent, complete, resets] = [after, 0, 0];
  for (
    let part = rows.since(sent, bytesMax, complete);
    part !== undefined;
    part = rows.since(sent, bytesMax, complete)
  ) {
    if (part.isReset) complete = rows.newest;
    if (part.isReset) resets += 1;
    for (const [name, row] of Object.entries(JSON.parse(part.text).rows)) has.set(name, row);
    sent = part.upTo;
  }
  return { has, sent, resets };
};

test('a viewer gets each row once, in its newest state, also in small parts', () => {
  const rows = new LiveRows();
  for (let n = 0; n < 100; n++) rows.set(`host ${n % 10}`, host(String(n % 10), n));
  const { has, sent, resets } = readAll(rows, 0, 10);
  assert.equal(has.size, 10);
  assert.deepEqual(has.get('host 3'), host('3', 93));
  assert.deepEqual([sent, resets], [100, 1]);
});

test('a viewer that was away gets what changed and what was deleted, and nothing else', () => {
  const rows = new LiveRows();
  for (const name of ['a', 'b', 'c']) rows.set(`host ${name}`, host(name));
  const { sent } = readAll(rows);
  rows.set('host a', host('a'));
  assert.equal(rows.since(sent, 1_000), undefined, 'an equal row is no change');
  rows.set('host a', host('a', 7));
  rows.retain('host ', new Set(['host a', 'host c']));
  const { has, resets } = readAll(rows, sent);
  assert.deepEqual(
    [...has],
    [
      ['host a', host('a', 7)],
      ['host b', null],
    ],
  );
  assert.equal(resets, 0);
});

test('a viewer that was away for longer than deleted rows are remembered gets all again, once', () => {
  const rows = new LiveRows(4);
  rows.set('host stays', host('stays'));
  const { sent } = readAll(rows);
  for (let n = 0; n < 20; n++) {
    rows.set(`host ${n}`, host(String(n)));
    rows.retain('host ', new Set(['host stays']));
  }
  // In parts of one row each: the rows before the forgotten deletions must not start it again.
  const { has, resets } = readAll(rows, sent, 1);
  assert.deepEqual([has.get('host stays'), resets], [host('stays'), 1]);
});
