import assert from 'node:assert/strict';
import { test } from 'node:test';
import { html } from './html.ts';

test('a text in a page is escaped, and its controls and marks of direction are shown as escapes', () => {
  const name = '<script>"&\'\u202eevil\u001b[2J';
  assert.equal(html`<p title="${name}">${name}</p>`.html, `<p title="${shown}">${shown}</p>`);
});

const shown = '&lt;script&gt;&quot;&amp;&#39;\\u202eevil\\u001b[2J';
