import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withChanges } from './with-changes.ts';

const text = 'title: one # of many\nsettings: { leaseTtl: 2s }\n';

test('settings and seed of the command line replace those of the file; comments stay', () => {
  assert.equal(withChanges(text, []), text);
  assert.equal(
    withChanges(text, ['leaseTtl=30s', 'legacyPadding=true'], '9'),
    'title: one # of many\nsettings: { leaseTtl: 30s, legacyPadding: true }\nseed: 9\n',
  );
  assert.match(withChanges('title: one\n', ['leaseTtl=30s']), /settings:\n {2}leaseTtl: 30s/);
});

test('a setting without a value is refused; a file with invalid YAML is returned unchanged', () => {
  for (const wrong of ['leaseTtl', 'leaseTtl=', '=30s'])
    assert.throws(() => withChanges(text, [wrong]), /--set must be a setting and its value, for example leaseTtl=30s/);
  assert.equal(withChanges('title: [', ['leaseTtl=30s']), 'title: [');
});
