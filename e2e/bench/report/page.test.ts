import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kept } from '../history.ts';
import { measurement, quantilesOf } from '../measure.ts';
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

test('the page judges the newest line of each size by its targets', () => {
  const page = renderPage(history);
  const verdicts = [...page.matchAll(/>((?:ratio|latencyRatio) [^<]*)<\/span>/g)].map(([, words]) => words);
  assert.deepEqual(verdicts, [
    'ratio ≥ 0.6 reached',
    'latencyRatio ≤ 2 missed',
    'ratio ≥ 0.6 reached',
    'latencyRatio ≤ 2 reached',
  ]);
  const early = renderPage(history.slice(0, 1));
  assert.match(early, /ratio ≥ 0.6 missed/);
  assert.match(early, /latencyRatio ≤ 2 not measured/);
});

test('growth, before and after, and latencies are drawn, each for light and for dark', () => {
  const page = renderPage(history);
  const titles = [...page.matchAll(/<figure aria-label="([^"]*)"/g)].map(([, title]) => title);
  assert.deepEqual(titles, [
    'Growth with size',
    'Ratio to the floor, run by run',
    'Latency, size 100',
    'Latency, size 1,000',
  ]);
  assert.equal(page.split('class="in-light"').length, titles.length + 1);
  assert.equal(page.split('class="in-dark"').length, titles.length + 1);
  // One size alone does not grow, and without quantiles there is no distribution.
  assert.deepEqual([...renderPage(history.slice(0, 1)).matchAll(/<figure/g)].length, 1);
});

test('of several things that a bench measures at one size each has its line, its plots and its targets', () => {
  const of = (thing: string, ratio: number): Kept => ({
    ...line(32, ratio, 1, '2026-01-03T00:00:00.000Z'),
    bench: 'disk-io',
    of: thing,
  });
  const page = renderPage([of('sequential read', 0.9), of('sequential write', 0.7), of('random read', 0.5)]);
  const rows = [...page.matchAll(/<tr><td>(disk-io[^<]*)<.*?<td class="verdicts">((?:<span.*?<\/span> )?)<\/td>/g)].map(
    ([, thing, verdict = '']) => [thing, /reached|missed/.exec(verdict)?.[0]],
  );
  assert.deepEqual(rows, [
    ['disk-io: random read', undefined],
    ['disk-io: sequential read', 'reached'],
    ['disk-io: sequential write', 'missed'],
  ]);
  const titles = [...page.matchAll(/<figure aria-label="([^"]*)"/g)].map(([, title]) => title);
  assert.deepEqual(
    titles,
    ['random read', 'sequential read', 'sequential write'].map((thing) => `Ratio to the floor, run by run: ${thing}`),
  );
});

test('what memory was in the course of a run is drawn, a line a service', () => {
  const page = renderPage([
    {
      ...line(300, 900, 700, '2026-01-03T00:00:00.000Z', {
        'mib of disk': [100, 180, 181],
        'mib of compute': [90, 140, 141],
        memoryGrowth: 1.2,
      }),
      bench: 'churn',
    },
  ]);
  assert.match(page, /<figure aria-label="Resident memory, size 300"/);
  for (const service of ['disk', 'compute']) assert.match(page, new RegExp(`<text[^>]*>${service}</text>`));
  assert.match(page, /memoryGrowth ≤ 1.05 missed/);
});

test('the page needs nothing from outside, and what a line says is text', () => {
  const page = renderPage(history);
  assert.doesNotMatch(page, /<script|<link|<img|@import|url\((?!#)/);
  assert.doesNotMatch(page, /c<0/);
  assert.match(page, /c&lt;02&gt;/);
});

test('however many rows the names of a plot take, the unit of its axis stands below them', () => {
  const peers = ['oneStatement', 'emmett', 'eventOnly', 'decided', 'nbdkit', 'qemuNbd'];
  for (const count of [0, 4, peers.length]) {
    const figures = Object.fromEntries(peers.slice(0, count).map((name) => [name, 50]));
    const page = renderPage([100, 1_000].map((size) => line(size, 30, 100, '2026-01-01T00:00:00.000Z', figures)));
    const [plot = ''] = /<figure aria-label="Growth with size".*?<\/svg>/s.exec(page) ?? [];
    const middles = new Map(
      [...plot.matchAll(/<text[^>]* y="([-\d.]+)" transform="translate\([-\d.]+ ([-\d.]+)\)"[^>]*>([^<]*)/g)].map(
        ([, y, down, text = '']) => [text, Number(y) + Number(down)],
      ),
    );
    const names = ['measured', 'floor', ...peers.slice(0, count)].map((name) => middles.get(name) ?? assert.fail(name));
    const unit = middles.get('events/s') ?? assert.fail('a unit');
    const letters = 12;
    assert.ok(unit - Math.max(...names) >= letters, `${count} peers: ${unit} is not below ${names.join(', ')}`);
  }
});
