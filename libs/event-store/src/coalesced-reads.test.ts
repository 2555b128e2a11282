import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedLooks } from './shared-looks.ts';

const open = () => {
  const looks: (readonly string[])[] = [];
  const find = sharedLooks<string>(async (keys) => {
    looks.push(keys);
    return new Map(keys.filter((key) => !key.startsWith('no')).map((key) => [key, `row of ${key}`]));
  });
  return { looks, find };
};

test('callers of one turn share a look, and each gets what it asked for', async () => {
  const { looks, find } = open();
  const found = await Promise.all([find(['a']), find(['b', 'none', 'b']), find(['a', 'c']), find([])]);
  assert.deepEqual(looks, [['a', 'b', 'none', 'c']]);
  assert.deepEqual(found, [['row of a'], ['row of b'], ['row of a', 'row of c'], []]);
});

test('what no store holds is not looked for: it would fail for everybody who shares the look', async () => {
  const { looks, find } = open();
  assert.deepEqual(await Promise.all([find(['a', 'a\0']), find(['\0'])]), [['row of a'], []]);
  assert.deepEqual(looks, [['a']]);
  assert.deepEqual(await find(['\0b']), []);
  assert.equal(looks.length, 1);
});

test('a look is made after the call: who comes while one is under way gets another', async () => {
  const { looks, find } = open();
  const first = find(['a']);
  await Promise.resolve();
  const second = find(['a']);
  await Promise.all([first, second]);
  assert.deepEqual(looks, [['a'], ['a']]);
});

test('a look stays bounded; the callers it fails are those who share it', async () => {
  const { looks, find } = open();
  const many = (from: number) => Array.from({ length: 600 }, (_, n) => String(from + n));
  await Promise.all([find(many(0)), find(many(600)), find(['x'])]);
  assert.deepEqual(
    looks.map(({ length }) => length),
    [600, 601],
  );
  const narrow: (readonly string[])[] = [];
  const findFew = sharedLooks<string>(async (keys) => {
    narrow.push(keys);
    return new Map();
  }, 2);
  await Promise.all(['a', 'b', 'c'].map((key) => findFew([key])));
  assert.deepEqual(narrow, [['a', 'b'], ['c']]);
  const failing = sharedLooks(async () => Promise.reject(new Error('gone')));
  const outcomes = await Promise.allSettled([failing(['a']), failing(['b'])]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
});
