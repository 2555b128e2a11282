import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { requestIdOf } from './request-id.ts';

const idOf = (clientId: string | undefined, url = '/keys/k/rotate?api-version=7.6', principal = 'p') =>
  requestIdOf({ headers: { 'x-ms-client-request-id': clientId }, url }, { principal }, systemRandom);

test('KV-33: a request that an SDK repeats has the same request id', () => {
  assert.match(idOf('a'), /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(idOf('a'), idOf('a'));
  assert.notEqual(idOf('a'), idOf('b'));
  assert.notEqual(idOf('a'), idOf('a', '/keys/other/rotate'));
  assert.notEqual(idOf('a'), idOf('a', undefined, 'another'));
  assert.notEqual(idOf(undefined), idOf(undefined));
});
