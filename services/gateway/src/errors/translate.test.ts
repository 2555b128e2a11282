import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { errorBody } from './rest-error.ts';
import { restErrorOf } from './translate.ts';

test('KV-87: a refusal for a disabled key is 403 Forbidden with innererror KeyDisabled, and keeps its reason', () => {
  const refused = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'disabled', { since: 'yesterday' });
  const error = restErrorOf(refused, 'vault');
  assert.equal(error?.status, 403);
  assert.deepEqual(error && errorBody(error), {
    error: {
      code: 'Forbidden',
      message: 'disabled',
      innererror: { code: 'KeyDisabled' },
      details: [
        { code: 'KEY_DISABLED', message: 'disabled' },
        { code: 'KEY_DISABLED', target: 'since', message: 'yesterday' },
      ],
    },
  });
});

test('KV-82, KV-83: a refusal in a vault with roles has another inner code than one by an access policy', () => {
  const denied = (metadata: Readonly<Record<string, string>>) =>
    restErrorOf(new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no', metadata), 'vault')?.innerCode;
  assert.equal(denied({ permission: 'wrapKey' }), 'AccessDenied');
  assert.equal(denied({ action: 'keyVault/keys/wrapKey' }), 'ForbiddenByRbac');
});

test('KV-95: a throttled call is 429 with Retry-After in whole seconds, at least 1', () => {
  const after = (retryAfterMs: string) =>
    restErrorOf(new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'slow down', { retryAfterMs }), 'vault')?.headers;
  assert.deepEqual(after('20'), { 'retry-after': '1' });
  assert.deepEqual(after('1500'), { 'retry-after': '2' });
});

test('an unreachable service is 503, a late one 504, and an internal error stays in the log', () => {
  const failure = (code: 'UNAVAILABLE' | 'DEADLINE_EXCEEDED' | 'INTERNAL') =>
    restErrorOf(new RpcFailure(code, 'm', 'p', 'd'), 'management')?.status;
  assert.deepEqual([failure('UNAVAILABLE'), failure('DEADLINE_EXCEEDED'), failure('INTERNAL')], [503, 504, undefined]);
});

test("CMK-05: a key refused to the identity of a set is a 409 with Azure's text, not a missing right of the caller", () => {
  const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d';
  const keyVersion = `vaults/v/keys/k/versions/${'0'.repeat(32)}`;
  const refused = (reason: string, metadata: Readonly<Record<string, string>>) =>
    restErrorOf(new Rejection('PERMISSION_DENIED', reason, 'no', metadata), 'management');
  const ofKey = refused('ACCESS_DENIED', { disk_encryption_set: set, key_version: keyVersion });
  assert.deepEqual([ofKey?.status, ofKey?.code], [409, 'KeyVaultAccessForbidden']);
  assert.match(
    ofKey?.message ?? '',
    /^Unable to access key vault resource 'vaults\/v\/keys\/k\/versions\/0+' to enable/,
  );
  const ofCaller = refused('ACCESS_DENIED', { action: 'disk/disks/write', scope: set });
  assert.deepEqual([ofCaller?.status, ofCaller?.code], [403, 'AuthorizationFailed']);
});

test('VM-18: an attach of a disk that another machine has is ConflictingUserInput', () => {
  const codeWith = (metadata: Readonly<Record<string, string>>) =>
    restErrorOf(new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', 'no', metadata), 'management')?.code;
  assert.equal(codeWith({ disk: 'd', vm: 'v' }), 'ConflictingUserInput');
  assert.equal(codeWith({ virtual_machine: 'v' }), 'OperationNotAllowed');
});
