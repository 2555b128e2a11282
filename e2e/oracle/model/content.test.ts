import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskContent, rangeContent } from './content.ts';

const range = { first: 24, count: 8 };
const write = (content: DiskContent, value: number): void => content.beginWrite(range, value)('done');
/** What is wrong about reading that write, which ends the question what is there. */
const wrong = (content: DiskContent, value: number): string | undefined =>
  content.beginRead(range)(rangeContent(range, value));

test('a crash brings back what was flushed and nothing older, also during a read', () => {
  for (const [value, isPossible] of [
    [1, false],
    [2, true],
    [3, true],
  ] as const) {
    const content = new DiskContent();
    write(content, 1);
    write(content, 2);
    const endRead = content.beginRead(range);
    content.beginFlush()();
    assert.equal(endRead(rangeContent(range, 2)), undefined);
    write(content, 3);
    content.crash();
    assert.equal(wrong(content, value) === undefined, isPossible, `write ${value}`);
  }
});

test('of several writes since a flush a crash may bring back any', () => {
  for (const value of [0, 1, 2]) {
    const content = new DiskContent();
    write(content, 1);
    write(content, 2);
    content.crash();
    const bytes = value === 0 ? new Uint8Array(range.count * 512) : rangeContent(range, value);
    assert.equal(content.beginRead(range)(bytes), undefined, `write ${value}`);
  }
});

test('a write that begins during a flush is not covered by it, also where it is acknowledged later', () => {
  const content = new DiskContent();
  write(content, 1);
  const flushed = content.beginFlush();
  const written = content.beginWrite(range, 2);
  flushed();
  written('done');
  content.crash();
  assert.equal(wrong(content, 1), undefined);
});

test('without a crash only the last write is there', () => {
  const content = new DiskContent();
  write(content, 1);
  write(content, 2);
  assert.match(wrong(content, 1) ?? '', /cell 24 holds write 1, not write 2/);
});

test('after a flush that failed a crash may bring back what was there before, whatever was flushed since, unless it is written again', () => {
  const content = new DiskContent();
  write(content, 1);
  content.beginFlush()();
  write(content, 2);
  content.beginFlush();
  content.failFlush();
  content.beginFlush()();
  content.crash();
  assert.equal(wrong(content, 1), undefined);

  const rewritten = new DiskContent();
  write(rewritten, 1);
  rewritten.failFlush();
  write(rewritten, 2);
  rewritten.beginFlush()();
  rewritten.crash();
  assert.match(wrong(rewritten, 1) ?? '', /cell 24 holds write 1, not write 2/);
});
