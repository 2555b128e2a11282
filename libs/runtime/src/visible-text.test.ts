import assert from 'node:assert/strict';
import { test } from 'node:test';
import { visible, visibleInLine } from './visible-text.ts';

test('what a terminal obeys, and what changes the direction of a text, becomes visible; other text stays', () => {
  assert.equal(
    visible('a\u001b[2Jb\u0007\rc\u009bd\u202ee\u2028'),
    'a\\u001b[2Jb\\u0007\\u000dc\\u009bd\\u202ee\\u2028',
  );
  for (const text of ['zwei\n\tZeilen', 'çédille 漢字 👩‍🔧 – …', '']) assert.equal(visible(text), text);
  assert.equal(visibleInLine('two\nlines\tand\u001b'), 'two\\nlines\\tand\\u001b');
});
