import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { definiteReason, isAboutAsker } from './key-reasons.ts';

test('G1: definite is what somebody with authority decided about the key; whatever time or a new token cures is no decision', () => {
  for (const [error, reason] of [
    [new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', ''), 'KEY_DISABLED'],
    [new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', ''), 'ACCESS_DENIED'],
    [new Rejection('NOT_FOUND', 'KEY_NOT_FOUND', ''), 'KEY_VERSION_NOT_FOUND'],
    [new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', ''), 'VAULT_DELETED'],
    [new Rejection('FAILED_PRECONDITION', 'KEY_OPERATION_NOT_ALLOWED', ''), 'ACCESS_DENIED'],
    [new Rejection('UNAVAILABLE', 'KEY_DISABLED', ''), undefined],
    [new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', ''), undefined],
    [new Rejection('UNAUTHENTICATED', 'IDENTITY_DELETED', ''), undefined],
    [new Rejection('FAILED_PRECONDITION', 'ANOTHER_REASON', ''), undefined],
    [new RpcFailure('FAILED_PRECONDITION', 'CheckAccess', 'proxy', 'KEY_DISABLED'), undefined],
    [new TypeError('KEY_DISABLED'), undefined],
  ] as const)
    assert.equal(definiteReason(error), reason, `${error.message} ${reason}`);
});

test('G10: who asked is what access and identities are about; the rest is about the key, whoever asks', () => {
  assert.deepEqual(
    (['ACCESS_DENIED', 'IDENTITY_DELETED', 'KEY_DISABLED', 'KEY_PURGED', 'VAULT_DELETED'] as const).filter(
      isAboutAsker,
    ),
    ['ACCESS_DENIED', 'IDENTITY_DELETED'],
  );
});
