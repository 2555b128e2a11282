import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { openFindings } from '../verdict.ts';
import type { Forecast } from './forecast.ts';
import { previewJudge } from './previews.ts';

const stopsOf = (...names: readonly string[]): Forecast => ({ stops: new Set(names), moves: 0 });

/** The violation of a preview that names `named`; the forecast was `before` and is `after`, and `moved` have moved in between. */
const judged = (
  named: readonly string[],
  before: Forecast | undefined,
  after: Forecast | undefined = before,
  moved: readonly string[] = [],
): string | undefined => {
  const log = openFindings(() => 0);
  const judge = previewJudge({ log, forecast: { of: () => after, movedSince: () => new Set(moved) } });
  const impacts = named.map((resource) => Impact.fromPartial({ kind: 'VIRTUAL_MACHINE_STOPS', resource }));
  const others = Impact.fromPartial({ kind: 'DISK_UNREADABLE', resource: 'c' });
  judge('k', [...impacts, others], before);
  return log.violation && `${log.violation.guarantee}: ${log.violation.expected}; ${log.violation.actual}`;
};

test('judge of previews, G2: what would stop is named, each once or more, and nothing else', () => {
  assert.equal(judged(['a', 'b', 'a'], stopsOf('a', 'b')), undefined);
  assert.equal(judged([], stopsOf()), undefined);
  assert.equal(judged(['a'], stopsOf('a', 'b')), 'G2: a loss of k stops a, b; predicted: a');
  assert.equal(judged(['a', 'b'], stopsOf('a')), 'G2: a loss of k stops a; predicted: a, b');
  assert.equal(judged(['a'], stopsOf()), 'G2: a loss of k stops no machine; predicted: a');
});

test('judge of previews: a machine that moved meanwhile may be named or not, the others may not', () => {
  for (const named of [['a'], ['a', 'b']]) {
    assert.equal(judged(named, stopsOf('a', 'b'), stopsOf('a'), ['b']), undefined);
    // There and back: before and after are the same.
    assert.equal(judged(named, stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']), undefined);
  }
  assert.equal(
    judged(['b'], stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']),
    'G2: a loss of k stops a; predicted: no machine',
  );
});

test('judge of previews: there is no verdict if the forecast was uncertain, or has changed', () => {
  assert.equal(judged(['x'], undefined, stopsOf('a')), undefined);
  const log = openFindings(() => 0);
  previewJudge({ log, forecast: { of: () => undefined, movedSince: () => new Set() } })('k', [], stopsOf('a'));
  assert.equal(log.violation, undefined);
  // No machine moved, but one of its disks is under another key now.
  assert.equal(judged(['a', 'b'], stopsOf('a'), stopsOf('a', 'b')), undefined);
});
