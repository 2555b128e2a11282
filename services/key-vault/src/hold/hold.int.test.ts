import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';
import { memoryHistoryMarks } from './history-marks.ts';

const asked = 'restore-1';
let cloud: VaultCloud;
before(async () => {
  // A day of retention lasts 2 ms: what is deleted is due for its purge a moment later.
  const hold = { marks: memoryHistoryMarks(), asked };
  cloud = await startVaultCloud({ settings: { hold, retentionDayMs: 2 } });
});
after(() => cloud?.close());

const onHold = { code: 'UNAVAILABLE', reason: 'KEY_VAULT_ON_HOLD' };
/** Deleted on hold, and never recovered. */
let left = '';

test('KV-63, G5: a deleted key is not purged during a hold and can be recovered', async () => {
  const vault = cloud.vault();
  const parent = await newVault(cloud, { retentionDays: 7 });
  const [back, gone] = [`${parent}/keys/back`, `${parent}/keys/gone`];
  for (const name of [back, gone]) {
    await vault.createKey({ parent, keyId: name.split('/keys/')[1] ?? '', requestId: randomUUID() });
    await vault.deleteKey({ name });
  }
  await systemClock.sleep(500);
  await vault.recoverKey({ name: back });
  left = gone;
});

test('KV-114, G9: during a hold, keys are managed but not used; refusals are recorded; an operator ends the hold', async () => {
  const vault = cloud.vault();
  const name = await newVault(cloud);
  const version = await vault.createKey({ parent: name, keyId: 'k1', keySizeBits: 2048, requestId: randomUUID() });
  const probe = { name: version.name, algorithm: 'RSA_OAEP_256', plaintextKey: Buffer.alloc(32, 1) } as const;
  await assert.rejects(vault.wrapKey(probe), onHold);
  const identity = await cloud.newManagedIdentity();
  await assert.rejects(identity.vault.checkAccess({ keyVersion: version.name }), onHold);
  // A missing key may have been created after the restored moment: its absence is not a loss that its owner decided.
  const unknown = `vaults/v${randomUUID().slice(0, 12)}/keys/k1/versions/${'1'.repeat(32)}`;
  await assert.rejects(identity.vault.checkAccess({ keyVersion: unknown }), onHold);

  // Access that was removed after the restored moment can be removed again.
  await vault.disableKeyVersion({ name: version.name });
  const { auditEntries } = await vault.listAuditEntries({ parent: name });
  const refused = auditEntries.filter(({ reason }) => reason === 'KEY_VAULT_ON_HOLD').map(({ operation }) => operation);
  assert.deepEqual([...new Set(refused)].sort(), ['KeyCheckAccess', 'KeyWrap']);

  const { hold } = await vault.getHold({});
  assert.deepEqual([hold?.holdId, hold?.reason], [asked, 'ASKED_FOR']);
  const account = await cloud.newPrincipal();
  await assert.rejects(cloud.vault(account).confirmKeyStates({ holdId: asked }), { code: 'PERMISSION_DENIED' });
  await assert.rejects(vault.confirmKeyStates({ holdId: 'other' }), { code: 'NOT_FOUND', reason: 'HOLD_NOT_FOUND' });
  assert.equal((await vault.confirmKeyStates({ holdId: asked })).hold, undefined);
  assert.equal((await vault.getHold({})).hold, undefined);

  await assert.rejects(vault.wrapKey(probe), { code: 'FAILED_PRECONDITION', reason: 'KEY_DISABLED' });
  await vault.enableKeyVersion({ name: version.name });
  assert.equal((await vault.wrapKey(probe)).wrappedKey.length, 256);
  await until(() =>
    vault.getDeletedKey({ name: left }).then(
      () => false,
      ({ reason }: { reason?: string }) => reason === 'KEY_NOT_FOUND',
    ),
  );
});
