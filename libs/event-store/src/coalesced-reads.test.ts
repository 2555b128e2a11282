import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coalescedReads } from './coalesced-reads.ts';

const open = () => {
  const reads: (readonly string[])[] = [];
  const find = coalescedReads<string>(async (keys) => {
    reads.push(keys);
    return new Map(keys.filter((key) => !key.startsWith('no')).map((key) => [key, `row of ${key}`]));
  });
  return { reads, find };
};

test('callers of one turn share a read, and each gets the values of its keys', async () => {
  const { reads, find } = open();
  const found = await Promise.all([find(['a']), find(['b', 'none', 'b']), find(['a', 'c']), find([])]);
  assert.deepEqual(reads, [['a', 'b', 'none', 'c']]);
  assert.deepEqual(found, [['row of a'], ['row of b'], ['row of a', 'row of c'], []]);
});

test('a key with a NUL is not read: it would fail every caller of the shared read', async () => {
  const { reads, find } = open();
  assert.deepEqual(await Promise.all([find(['a', 'a\0']), find(['\0'])]), [['row of a'], []]);
  assert.deepEqual(reads, [['a']]);
  assert.deepEqual(await find(['\0b']), []);
  assert.equal(reads.length, 1);
});

test('a caller that arrives while a read is running gets a new read', async () => {
  const { reads, find } = open();
  const first = find(['a']);
  await Promise.resolve();
  const second = find(['a']);
  await Promise.all([first, second]);
  assert.deepEqual(reads, [['a'], ['a']]);
});

test('a read has a bounded size, and its failure fails the callers that share it', async () => {
  const { reads, find } = open();
  const many = (from: number) => Array.from({ length: 600 }, (_, n) => String(from + n));
  await Promise.all([find(many(0)), find(many(600)), find(['x'])]);
  assert.deepEqual(
    reads.map(({ length }) => length),
    [600, 601],
  );
  const narrow: (readonly string[])[] = [];
  const findFew = coalescedReads<string>(async (keys) => {
    narrow.push(keys);
    return new Map();
  }, 2);
  await Promise.all(['a', 'b', 'c'].map((key) => findFew([key])));
  assert.deepEqual(narrow, [['a', 'b'], ['c']]);
  const failing = coalescedReads(async () => Promise.reject(new Error('gone')));
  const outcomes = await Promise.allSettled([failing(['a']), failing(['b'])]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
});
