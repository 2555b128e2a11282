import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kept } from './history.ts';
import { measurement, quantilesOf } from './measure.ts';
import { renderPage } from './page.ts';

const line = (size: number, value: number, floor: number, time: string, details = {}): Kept => ({
  time,
  ...measurement({ bench: 'feed', size, unit: 'events/s' }, [value, value, value], [floor, floor, floor], details),
  commit: `c<${time.slice(8, 10)}>`,
});
const latencyMsQuantiles = quantilesOf([1, 2, 3, 5, 8]);
const history = [
  line(100, 30, 100, '2026-01-01T00:00:00.000Z'),
  line(100, 70, 100, '2026-01-02T00:00:00.000Z', { latencyRatio: 2.5, latencyMsQuantiles }),
  line(1_000, 90, 100, '2026-01-02T00:00:00.000Z', { latencyRatio: 1.5, latencyMsQuantiles }),
];
const verdicts = (page: string) =>
  [...page.matchAll(/>((?:ratio|latencyRatio) [^<]*)<\/div>/g)].map(([, text]) => text);

test('the page judges the newest line of each size by its targets', () => {
  assert.deepEqual(verdicts(renderPage(history)), [
    'ratio ≥ 0.6 reached',
    'latencyRatio ≤ 2 missed',
    'ratio ≥ 0.6 reached',
    'latencyRatio ≤ 2 reached',
  ]);
  assert.deepEqual(verdicts(renderPage(history.slice(0, 1))), ['ratio ≥ 0.6 missed', 'latencyRatio ≤ 2 not measured']);
});

test('draws a series of several runs and shows lists of values', () => {
  const page = renderPage(history);
  assert.match(page, /<title>0\.3, 0\.7<\/title><polyline points="0,20\.6 160,0"/);
  assert.equal(page.split('<polyline').length, 2);
  assert.match(page, /latencyMsQuantiles: 1, /);
});

test('each thing that a bench measures has its own row and targets', () => {
  const of = (thing: string, ratio: number): Kept => ({
    ...line(32, ratio, 1, '2026-01-03T00:00:00.000Z'),
    bench: 'disk-io',
    of: thing,
  });
  const page = renderPage([of('sequential read', 0.9), of('sequential write', 0.7), of('random read', 0.5)]);
  const rows = [...page.matchAll(/<tr><td>(disk-io[^<]*)<.*<\/tr>/g)].map(([row, thing]) => [
    thing,
    /reached|missed/.exec(row)?.[0],
  ]);
  assert.deepEqual(rows, [
    ['disk-io: random read', undefined],
    ['disk-io: sequential read', 'reached'],
    ['disk-io: sequential write', 'missed'],
  ]);
});

test('the page loads nothing from outside and escapes texts', () => {
  const page = renderPage(history);
  assert.doesNotMatch(page, /<script|<link|<img|@import|url\((?!#)/);
  assert.doesNotMatch(page, /c<0/);
  assert.match(page, /c&lt;02&gt;/);
});
