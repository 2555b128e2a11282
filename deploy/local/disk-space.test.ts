import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { spaceLimitsOf } from './cloud-space.ts';
import { openDataFolder } from './data-folder.ts';
import { requireSpace, spaceNeeds } from './disk-space.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const mib = 2 ** 20;
const sumOf = (needs: readonly { readonly bytes: number }[]): number =>
  needs.reduce((sum, { bytes }) => sum + bytes, 0);

test('a new cloud takes at most 0.9 GB with its logs, spans and reservations: the dependencies take 0.8 of the 2 GB of the README', () => {
  const data = openDataFolder(join(folder, 'new'));
  const needs = spaceNeeds(data, spaceLimitsOf({ data, env: {} }));
  assert.ok(sumOf(needs) <= 0.9e9, `${sumOf(needs)} bytes: ${JSON.stringify(needs)}`);
});

test('servers that are given need no space, and a setting of the streams counts', () => {
  const data = openDataFolder(join(folder, 'given'));
  const limits = spaceLimitsOf({ data, env: { DATABASE_URL: 'postgres://elsewhere/x', NATS_URL: 'nats://elsewhere' } });
  assert.deepEqual([limits.wal, limits.streams], [undefined, undefined]);
  const settings = { NATS_STREAM_BYTES_MAX: String(2 ** 30) };
  assert.equal(spaceLimitsOf({ data, env: {}, settings }).streams?.bytesMax, 2 ** 30);
});

test('what a folder has already is not needed again', () => {
  const data = openDataFolder(join(folder, 'used'));
  const limits = { streams: { count: 5, bytesMax: 4 * mib }, logs: { count: 1, bytesMax: mib }, spansBytesMax: mib };
  const before = sumOf(spaceNeeds(data, limits));
  mkdirSync(data.path('nats', 'jetstream', 'streams'), { recursive: true });
  writeFileSync(data.path('nats', 'jetstream', 'streams', '1.blk'), Buffer.alloc(3 * mib, 1));
  writeFileSync(data.path('spans.1.jsonl'), Buffer.alloc(mib, 1));
  const less = before - sumOf(spaceNeeds(data, limits));
  // The folder itself may take a block.
  assert.ok(less >= 4 * mib && less < 4.1 * mib, `${less}`);
});

test('a start without enough space says at once how much each part needs, and how much is free', () => {
  const needs = [
    { what: 'the streams of NATS', folder: join(folder, 'not', 'yet', 'there'), bytes: 160 * mib },
    { what: 'logs', folder, bytes: 40 * mib },
    { what: 'Postgres', folder: '/elsewhere', bytes: 80 * mib },
  ];
  const space = (at: string) => ({ device: at === '/' ? 2 : 1, freeBytes: 100 * mib });
  assert.throws(() => requireSpace(needs, space), {
    name: 'LauncherError',
    message: `The cloud needs 200 MiB free in ${folder}, which has 100 MiB: 160 MiB for the streams of NATS, 40 MiB for logs. Free some space, or set INTERLOCK_DATA to a folder with more.`,
  });
  requireSpace(needs, () => ({ device: 1, freeBytes: 280 * mib }));
});
