import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesIn, refusalsIn } from './key-changes.ts';
import { audit, lossMs, version } from './test-group.ts';

const keys = ['vaults/kv1/keys/k1', 'vaults/kv1/keys/k2'];
const short = (name: string): string => name.replace(/vaults\/|keys\/|versions\/|principals\//g, '');
const changed = (...entries: readonly ReturnType<typeof audit>[]) =>
  changesIn(entries, keys, short).map(({ step }) => [step.action, step.targets.join(), step.undoes ?? '']);

test('a change that restores access undoes the newest loss of the same key', () => {
  assert.deepEqual(
    changed(
      audit(0, 'KeyUpdate', { change: 'disable every version' }),
      audit(10, 'KeyUpdate', { change: 'disable', keyVersion: 'vaults/kv1/keys/k2/versions/1' }),
      audit(20, 'KeyUpdate', { change: 'enable what was disabled with the key' }),
      audit(30, 'KeyDelete'),
      audit(40, 'KeyRecover'),
    ),
    [
      ['disable-key', 'kv1/k1', ''],
      ['disable-key', 'kv1/k2', ''],
      ['enable-key', 'kv1/k1', 'change 1'],
      ['delete-key', 'kv1/k1', ''],
      ['recover-key', 'kv1/k1', 'change 4'],
    ],
  );
});

test('a change of a vault applies to all its keys; a first grant restores nothing', () => {
  const policy = (ms: number, permissions: string) =>
    audit(ms, 'VaultPatch', { keyVersion: '', change: `access policy of principals/1: ${permissions}` });
  assert.deepEqual(changed(policy(0, 'get, unwrapKey'), policy(10, 'none'), policy(20, 'get, unwrapKey')), [
    ['access policy set', 'kv1/k1,kv1/k2', ''],
    ['remove-policy', 'kv1/k1,kv1/k2', ''],
    ['access policy set', 'kv1/k1,kv1/k2', 'change 2'],
  ]);
});

test('entries without effect, uses and other keys are not changes; a refused change has its reason', () => {
  assert.deepEqual(
    changed(
      audit(0, 'KeyUpdate', { change: 'disable: was so already' }),
      audit(1, 'KeyUnwrap', { keyVersion: version }),
      audit(2, 'KeyDelete', { keyVersion: 'vaults/kv1/keys/other' }),
      audit(3, 'KeyUpdate', { change: 'tags: a' }),
    ),
    [],
  );
  const [refused] = changesIn([audit(0, 'KeyPurge', { result: 'REFUSED', reason: 'PURGE_PROTECTED' })], keys, short);
  assert.deepEqual([refused?.step.error, refused?.recorded], ['PURGE_PROTECTED', 'KeyPurge']);
});

test('equal refusals are one row with their number and times', () => {
  const refused = (ms: number, more: object = {}) =>
    audit(ms, 'KeyUnwrap', { keyVersion: version, result: 'REFUSED', reason: 'KEY_DISABLED', ...more });
  const rows = refusalsIn(
    [refused(0, { occurrenceCount: 5 }), refused(100), refused(50, { reason: 'KEY_EXPIRED' })],
    keys,
    short,
  );
  assert.deepEqual(
    rows.map(({ reason, count, key, firstMs, lastMs }) => [reason, count, key, firstMs - lossMs, lastMs - lossMs]),
    [
      ['KEY_DISABLED', 6, 'kv1/k1', 0, 100],
      ['KEY_EXPIRED', 1, 'kv1/k1', 50, 50],
    ],
  );
});
