import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { openFindings } from '../findings.ts';
import type { Forecast } from './forecast.ts';
import { previewJudge } from './previews.ts';

const stopsOf = (...names: readonly string[]): Forecast => ({ stops: new Set(names), moves: 0 });

/** The violation of a preview that predicts stops of `named`. The forecast changed from `before` to `after`, and `moved` moved in between. */
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

test('judge of previews, G2: a preview must name exactly the machines that would stop', () => {
  assert.equal(judged(['a', 'b', 'a'], stopsOf('a', 'b')), undefined);
  assert.equal(judged([], stopsOf()), undefined);
  assert.equal(judged(['a'], stopsOf('a', 'b')), 'G2: a loss of k stops a, b; predicted: a');
  assert.equal(judged(['a', 'b'], stopsOf('a')), 'G2: a loss of k stops a; predicted: a, b');
  assert.equal(judged(['a'], stopsOf()), 'G2: a loss of k stops no machine; predicted: a');
});

test('judge of previews: a machine that moved during the preview may be named or not', () => {
  for (const named of [['a'], ['a', 'b']]) {
    assert.equal(judged(named, stopsOf('a', 'b'), stopsOf('a'), ['b']), undefined);
    // It moved and moved back, so before and after are the same.
    assert.equal(judged(named, stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']), undefined);
  }
  assert.equal(
    judged(['b'], stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']),
    'G2: a loss of k stops a; predicted: no machine',
  );
});

test('judge of previews: gives no verdict if the forecast was uncertain or has changed', () => {
  assert.equal(judged(['x'], undefined, stopsOf('a')), undefined);
  const log = openFindings(() => 0);
  previewJudge({ log, forecast: { of: () => undefined, movedSince: () => new Set() } })('k', [], stopsOf('a'));
  assert.equal(log.violation, undefined);
  // No machine moved, but one of its disks is under another key now.
  assert.equal(judged(['a', 'b'], stopsOf('a'), stopsOf('a', 'b')), undefined);
});
