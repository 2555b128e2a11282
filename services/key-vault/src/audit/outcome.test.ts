import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection, type RejectionCode } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { outcomeOf } from './outcome.ts';

const ended = (code: RejectionCode, reason: string) => {
  const { httpStatusCode, result, reason: shown } = outcomeOf(new Rejection(code, reason, 'no'));
  return [httpStatusCode, result, shown];
};

test('KV-87, KV-88, KV-89, KV-94: in the record a disabled or dated version, a missing operation and a protected purge are 403', () => {
  for (const reason of [
    'KEY_DISABLED',
    'KEY_NOT_YET_VALID',
    'KEY_EXPIRED',
    'KEY_OPERATION_NOT_ALLOWED',
    'PURGE_PROTECTED',
  ]) {
    assert.deepEqual(ended('FAILED_PRECONDITION', reason), [403, 'refused', reason]);
  }
  assert.deepEqual(ended('FAILED_PRECONDITION', 'VAULT_DELETED'), [409, 'refused', 'VAULT_DELETED'], 'no other is');
});

test('KV-114: the record has a status for every refusal, and says which requests failed', () => {
  assert.deepEqual(ended('INVALID_ARGUMENT', 'X'), [400, 'refused', 'X']);
  assert.deepEqual(ended('UNAUTHENTICATED', 'X'), [401, 'refused', 'X']);
  assert.deepEqual(ended('PERMISSION_DENIED', 'X'), [403, 'refused', 'X']);
  assert.deepEqual(ended('NOT_FOUND', 'X'), [404, 'refused', 'X']);
  assert.deepEqual(ended('ALREADY_EXISTS', 'X'), [409, 'refused', 'X']);
  assert.deepEqual(ended('RESOURCE_EXHAUSTED', 'X'), [429, 'refused', 'X']);
  assert.deepEqual(ended('UNAVAILABLE', 'X'), [503, 'failed', 'X']);
  assert.deepEqual(ended('DATA_LOSS', 'X'), [500, 'failed', 'X']);
  const outage = outcomeOf(new RpcFailure('UNAVAILABLE', 'authorize', 'identity', 'down'));
  assert.deepEqual([outage.httpStatusCode, outage.result, outage.reason], [503, 'failed', 'DEPENDENCY_UNAVAILABLE']);
  assert.deepEqual(outcomeOf(new TypeError('a defect')), { httpStatusCode: 500, result: 'failed', reason: 'INTERNAL' });
});
