import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskContent, rangeContent } from './content.ts';

const range = { first: 24, count: 8 };
const write = (content: DiskContent, value: number): void => content.beginWrite(range, value)('done');
/** The problem of a read that returns that write, if any. A read settles what the disk holds. */
const wrong = (content: DiskContent, value: number): string | undefined =>
  content.beginRead(range)(rangeContent(range, value));

test('a crash restores the last flushed write or a later one, also if a read was under way', () => {
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

test('a crash may restore any write since the last flush', () => {
  for (const value of [0, 1, 2]) {
    const content = new DiskContent();
    write(content, 1);
    write(content, 2);
    content.crash();
    const bytes = value === 0 ? new Uint8Array(range.count * 512) : rangeContent(range, value);
    assert.equal(content.beginRead(range)(bytes), undefined, `write ${value}`);
  }
});

test('a flush does not cover a write that starts during it', () => {
  const content = new DiskContent();
  write(content, 1);
  const flushed = content.beginFlush();
  const written = content.beginWrite(range, 2);
  flushed();
  written('done');
  content.crash();
  assert.equal(wrong(content, 1), undefined);
});

test('without a crash only the last write may be read', () => {
  const content = new DiskContent();
  write(content, 1);
  write(content, 2);
  assert.match(wrong(content, 1) ?? '', /cell 24 holds write 1, not write 2/);
});

test('after a failed flush a crash may restore earlier content, despite later flushes, unless it is written again', () => {
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
