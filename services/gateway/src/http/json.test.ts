import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJson } from './json.ts';

test('a null counts as not given', () => {
  const { a, b } = readJson('{"a":null,"b":{"c":null}}') as { a?: unknown; b: object };
  assert.equal(a, undefined);
  assert.deepEqual(Object.keys(b), []);
  assert.equal(readJson(' '), undefined);
});

test('malformed JSON is refused with its offset and without its text', () => {
  const secret = '{"key":{"d":"c2VjcmV0"},}';
  assert.throws(
    () => readJson(secret),
    ({ status, code, message }) => {
      assert.deepEqual([status, code], [400, 'InvalidRequestContent']);
      assert.match(message, /offset 24$/);
      assert.ok(!message.includes('c2VjcmV0'));
      return true;
    },
  );
});
