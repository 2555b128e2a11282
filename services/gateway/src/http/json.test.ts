import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJson } from './json.ts';

test('a null member counts as absent', () => {
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

test('a template may have comments and names without quotes; other bodies may not', () => {
  const text = '{"properties": {"mode": "Incremental", template:{ /* a */ "b": null, "c": 1 }}}';
  assert.deepEqual(readJson(text, true), { properties: { mode: 'Incremental', template: { c: 1 } } });
  assert.throws(() => readJson(text), { status: 400 });
  assert.throws(() => readJson('{"a": x}', true), { status: 400, message: /line 1, column 7$/ });
});

test('a body with more than 200 levels of nesting is refused', () => {
  for (const text of ['['.repeat(500_000), '{"a":'.repeat(100_000), `${'['.repeat(201)}${']'.repeat(201)}`]) {
    assert.throws(() => readJson(text), { status: 400, code: 'InvalidRequestContent' });
    assert.throws(() => readJson(text, true), { status: 400, code: 'InvalidRequestContent' });
  }
});

test('a text with the character U+0000 is refused: the store cannot hold it', () => {
  assert.throws(() => readJson('{"tags": {"a": "\\u0000"}}'), { status: 400, code: 'InvalidRequestContent' });
});

test('brackets in texts and comments hide no nesting', () => {
  const deep = '['.repeat(100_000);
  const hidden = [
    `{"a": "${']'.repeat(100_000)}", "b": ${deep}`,
    `{"a": "${']'.repeat(100_000)}", "b": ${deep}${']'.repeat(100_000)}}`,
    `["\n${deep}`,
    `/* " */ ${deep}`,
    `[// "\n${deep}`,
    `["\\\\", ${deep}`,
  ];
  for (const text of hidden)
    for (const isJson5 of [false, true])
      assert.throws(() => readJson(text, isJson5), { status: 400, code: 'InvalidRequestContent' }, text.slice(0, 20));
  assert.throws(() => readJson(`[']', ${deep}${']'.repeat(100_000)}]`, true), { status: 400 });
  assert.deepEqual(readJson(`{"a": "${'['.repeat(1_000)}"}`), { a: '['.repeat(1_000) });
});
