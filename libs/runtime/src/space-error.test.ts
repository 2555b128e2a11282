import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSpaceError } from './space-error.ts';

test('errors of a full disk are recognised, also as causes', () => {
  const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
  const ofPostgres = Object.assign(new Error('could not extend file'), { code: '53100' });
  for (const error of [full, ofPostgres, new Error('outer', { cause: full }), new AggregateError([ofPostgres])])
    assert.ok(isSpaceError(error));
  for (const error of [new Error('other'), Object.assign(new Error('x'), { code: 'EIO' }), undefined, 'ENOSPC'])
    assert.ok(!isSpaceError(error));
});
