import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rangeOf } from './range.ts';

test('a range is cut at the end of the disk; a range that starts after it is refused; other forms are ignored', () => {
  assert.deepEqual(rangeOf('bytes=0-99', 1_000), { first: 0, last: 99 });
  assert.deepEqual(rangeOf('bytes=900-5000', 1_000), { first: 900, last: 999 });
  assert.deepEqual(rangeOf('bytes=900-', 1_000), { first: 900, last: 999 });
  assert.deepEqual(rangeOf('bytes=-100', 1_000), { first: 900, last: 999 });
  assert.throws(() => rangeOf('bytes=1000-', 1_000), { status: 416, code: 'InvalidRange' });
  assert.throws(() => rangeOf('bytes=5-4', 1_000), { status: 416 });
  for (const none of [undefined, '', 'bytes=-', 'bytes=0-1,4-5', 'items=0-1', 'bytes=a-b'])
    assert.equal(rangeOf(none, 1_000), undefined);
});
