import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import { openTrial } from '../runs/history-log.ts';
import type { Foreseen } from './machines.ts';
import { previewJudge } from './previews.ts';

const stopsOf = (...names: readonly string[]): Foreseen => ({ stops: new Set(names), moves: 0 });

/** What the judge says of a preview that names `said`, where the truth was `before` and is `after`, and `moved` have moved between. */
const judged = (
  said: readonly string[],
  before: Foreseen | undefined,
  after: Foreseen | undefined = before,
  moved: readonly string[] = [],
): string | undefined => {
  const log = openTrial(() => 0);
  const judge = previewJudge({ log, machines: { foreseen: () => after, movedSince: () => new Set(moved) } });
  const impacts = said.map((resource) => Impact.fromPartial({ kind: 'VIRTUAL_MACHINE_STOPS', resource }));
  const others = Impact.fromPartial({ kind: 'DISK_UNREADABLE', resource: 'c' });
  judge.onPreview('k', [...impacts, others], before);
  return log.violation && `${log.violation.guarantee}: ${log.violation.expected}; ${log.violation.actual}`;
};

test('judge of previews, G2: what would stop is named, each once or more, and nothing else', () => {
  assert.equal(judged(['a', 'b', 'a'], stopsOf('a', 'b')), undefined);
  assert.equal(judged([], stopsOf()), undefined);
  assert.equal(judged(['a'], stopsOf('a', 'b')), 'G2: a loss of k stops a, b; foretold: a');
  assert.equal(judged(['a', 'b'], stopsOf('a')), 'G2: a loss of k stops a; foretold: a, b');
  assert.equal(judged(['a'], stopsOf()), 'G2: a loss of k stops none; foretold: a');
});

test('judge of previews: of a machine that moved meanwhile either is right, of the others nothing else', () => {
  for (const said of [['a'], ['a', 'b']]) {
    assert.equal(judged(said, stopsOf('a', 'b'), stopsOf('a'), ['b']), undefined);
    // There and back: before and after are the same.
    assert.equal(judged(said, stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']), undefined);
  }
  assert.equal(judged(['b'], stopsOf('a', 'b'), stopsOf('a', 'b'), ['b']), 'G2: a loss of k stops a; foretold: none');
});

test('judge of previews: nothing is said where the truth was not certain, or is another by now', () => {
  assert.equal(judged(['x'], undefined, stopsOf('a')), undefined);
  const log = openTrial(() => 0);
  previewJudge({ log, machines: { foreseen: () => undefined, movedSince: () => new Set() } }).onPreview(
    'k',
    [],
    stopsOf('a'),
  );
  assert.equal(log.violation, undefined);
  // No machine moved, but one of its disks is under another key now.
  assert.equal(judged(['a', 'b'], stopsOf('a'), stopsOf('a', 'b')), undefined);
});
