import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kept } from './history.ts';
import { measurement } from './measure.ts';
import { renderTable } from './table.ts';

const line = (bench: string, size: number, value: number, day: string, details = {}): Kept => ({
  time: `2026-01-${day}T00:00:00.000Z`,
  ...measurement({ bench, size, unit: 'events/s' }, [value, value, value], [100, 100, 100], details),
  commit: `c${day}`,
  machine: 'a|b',
});

/** The row of a bench and size. */
const rowOf = (table: string, bench: string, size: string): string =>
  table.split('\n').find((text) => text.startsWith(`| \`${bench}\` | ${size} |`)) ?? '';

test('the table has the newest line of each size, and figures that reach their target are bold', () => {
  const table = renderTable([
    line('feed', 100, 30, '01'),
    line('feed', 100, 70, '02', { latencyRatio: 2.5 }),
    line('feed', 1_000, 50, '02', { latencyRatio: 1.5 }),
    line('gateway', 1, 50, '01'),
  ]);
  assert.match(table, /^\| Bench \| Size \| Ratio \| Target \| Value \| Floor or peer \|\n\| --- \|/);
  const expected = '| **0.7**, latencyRatio 2.5 | ≥ 0.6, latencyRatio ≤ 2 | 70 events/s, spread 0 | 100 events/s |';
  assert.equal(rowOf(table, 'feed', '100'), `| \`feed\` | 100 ${expected}`);
  assert.match(rowOf(table, 'feed', '1,000'), /\| 0\.5, latencyRatio \*\*1\.5\*\* \|/);
  assert.match(rowOf(table, 'gateway', '1'), /\| 0\.5 \| – \|/);
  assert.match(table, /^- c02, 2026-01-02, a\\\|b: `feed`\.$/m);
  assert.match(table, /^- c01, 2026-01-01, a\\\|b: `gateway`\.$/m);
});

test('a figure, a size or a bench with a target that was not measured is marked', () => {
  const table = renderTable([line('feed', 100, 70, '01'), line('append', 1, 70, '01')]);
  assert.match(rowOf(table, 'feed', '100'), /\*\*0\.7\*\*, latencyRatio not measured \|/);
  assert.equal(rowOf(table, 'append', '64'), '| `append` | 64 | not measured | – | – | – |');
  assert.equal(rowOf(table, 'rebuild', '–'), '| `rebuild` | – | not measured | – | – | – |');
  assert.doesNotMatch(rowOf(table, 'append', '1'), /not measured/);
  assert.equal(rowOf(table, 'unwrap', '2,048'), '| `unwrap` | 2,048 | not measured | – | – | – |');
  for (const measured of ['feed', 'append', 'unwrap']) assert.equal(rowOf(table, measured, '–'), '', measured);
});
