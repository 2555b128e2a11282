import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Outcome } from '../../verdict.ts';
import { cases } from '../experiment/test-records.ts';
import { decisive, type MatrixCell, type MatrixRepeat, tailOf } from './cell.ts';
import { cellsOf } from './cells-of.ts';
import { matrixPage } from './matrix-page.ts';

const repeat = (outcome: Outcome, stoppedMs: number | null, report?: string): MatrixRepeat => {
  const { verdict } = cases[outcome];
  const groups = verdict.groups.map((group) =>
    group.group === 'premium' ? { ...group, stopped: { ...group.stopped, max: stoppedMs } } : group,
  );
  return { verdict: { ...verdict, groups }, ...(report === undefined ? {} : { report }) };
};

const cell = (cause: string, diskClass: string, fault: string, repeats: readonly MatrixRepeat[]): MatrixCell => ({
  cause,
  diskClass,
  fault,
  repeats,
});

const cells = [
  cell('disable-key', 'premium-ssd', 'none', [
    repeat('held', 2_000),
    repeat('held', 2_400, 'a/report.html'),
    repeat('held', 2_200),
  ]),
  cell('disable-key', 'ultra', 'none', [repeat('held', null)]),
  cell('remove-role', 'premium-ssd', 'none', [
    repeat('held', 9_000),
    repeat('violated', 7_500, 'b/report.html'),
    repeat('vacuous', 1),
  ]),
  cell('disable-key', 'premium-ssd', 'kill nats', [repeat('inconclusive', 3_000)]),
];

test('a cell shows the repeat with the worst outcome, and of those the slowest', () => {
  assert.deepEqual(
    cells.map((one) => [decisive(one)?.verdict.outcome, decisive(one)?.report]),
    [
      ['held', 'a/report.html'],
      ['held', undefined],
      ['violated', 'b/report.html'],
      ['inconclusive', undefined],
    ],
  );
});

test('the tail is the maximum so far after each repeat', () => {
  assert.deepEqual(cells.map(tailOf), [[2_000, 2_400, 2_400], [], [9_000, 9_000, 9_000], [3_000]]);
});

test('the page has a table for each fault; each cell has verdict, maximum, growth and a link to its report', () => {
  const page = matrixPage(cells);
  assert.doesNotMatch(page, /<script|<link|\bsrc=|@import/);
  assert.deepEqual(
    [...page.matchAll(/<section>\s*<h2>(.*?)<\/h2>\s*<table class="matrix">/g)].map(([, name]) => name),
    ['Nothing disturbed', 'kill nats'],
  );
  assert.match(page, /<a class="cell pass" href="a\/report\.html"[^>]*><b>2\.40 s<\/b><small>Held<\/small>/);
  assert.match(page, /first 2\.00 s/);
  assert.match(page, /<a class="cell fail" href="b\/report\.html"[^>]*><b>9\.00 s<\/b><small>Violated<\/small>/);
  assert.match(page, /<span class="cell pass"><b>no stop<\/b>/);
  assert.match(page, /<span class="cell missing">not run<\/span>/);
  assert.match(
    page,
    /<h1>2 of 4 cells held; the slowest stop took 9\.00 s \(role removed, Premium SSD, nothing disturbed\)\.<\/h1>/,
  );
  for (const one of cells.filter((each) => decisive(each)?.verdict.outcome !== 'held'))
    assert.ok(page.includes(decisive(one)?.verdict.because.replaceAll('<', '&lt;') ?? '?'));
});

test('a table shows how the tail grew with each repeat, or the page says that one repeat shows no growth', () => {
  const text = matrixPage(cells)
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
  assert.match(
    text,
    /Repeats Slowest of all cells Cells whose maximum grew in this repeat 1 9\.00 s – 2 9\.00 s 1 of 4 3 9\.00 s 0 of 4/,
  );
  assert.match(matrixPage([cells[1] ?? assert.fail()]), /Every cell ran once/);
  assert.match(matrixPage([]), /No cell was run/);
});

test('groups runs into cells by cause, disk classes under the key and faults', () => {
  const { experiment, verdict } = cases.held;
  const [placed, ...more] = cellsOf([
    { experiment, verdict, report: 'a.html' },
    { experiment, verdict },
  ]);
  assert.deepEqual(more, []);
  const { repeats, ...place } = placed ?? assert.fail();
  assert.deepEqual(place, {
    cause: 'remove-role',
    diskClass: 'Premium SSD + Ultra',
    fault: 'kill nats + pause key-vault',
  });
  assert.deepEqual(
    repeats.map(({ report }) => report),
    ['a.html', undefined],
  );
});
