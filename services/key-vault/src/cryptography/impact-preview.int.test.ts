import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud();
});
after(() => world?.close());

const asSets = () => world.vault(world.diskEncryptionSet);
const tenant = 'tenants/main';

test('CMK-10: a preview needs the permission for the change that it previews', async () => {
  const vault = await newVault(world);
  const { name: version } = await world.vault().createKey({ parent: vault, keyId: 'k', requestId: randomUUID() });
  const key = version.split('/versions/')[0] ?? '';
  const other = await world.newPrincipal();
  const { name: principal } = other;
  const ask = asSets().authorizeImpactPreview;
  const allowOnly = (...keyPermissions: ('GET' | 'UPDATE' | 'DELETE' | 'PURGE')[]) =>
    world.vault().setAccessPolicy({ name: vault, accessPolicy: { principal, keyPermissions } });

  await allowOnly('GET');
  const disable = { name: version, change: 'KEY_CHANGE_DISABLE', principal, tenant } as const;
  await assert.rejects(ask(disable), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await allowOnly('UPDATE');
  assert.equal(
    (
      await ask({
        ...disable,
        name: version.toUpperCase().replace('VAULTS', 'vaults').replace('KEYS', 'keys').replace('VERSIONS', 'versions'),
      })
    ).name,
    version,
  );
  const purge = { name: key, change: 'KEY_CHANGE_PURGE', principal, tenant } as const;
  await assert.rejects(ask(purge), { reason: 'ACCESS_DENIED' });
  await allowOnly('PURGE');
  await world.vault().deleteKey({ name: key });
  assert.equal((await ask(purge)).name, key, 'a deleted key can be purged, so it can be looked at');
  await assert.rejects(ask({ name: vault, change: 'KEY_CHANGE_DELETE', principal, tenant }), {
    reason: 'ACCESS_DENIED',
  });
  const { name: administrator } = world.administrator;
  const ofVault = { name: vault, change: 'KEY_CHANGE_DELETE', principal: administrator, tenant } as const;
  assert.equal((await ask(ofVault)).name, vault);
});

test('a preview of a missing resource or an impossible change is refused with its own reason', async () => {
  const vault = await newVault(world);
  const { name: version } = await world.vault().createKey({ parent: vault, keyId: 'k', requestId: randomUUID() });
  const ask = asSets().authorizeImpactPreview;
  const refusals = [
    ['vaults/never', 'KEY_CHANGE_DELETE', 'VAULT_NOT_FOUND'],
    [`${vault}/keys/never`, 'KEY_CHANGE_DELETE', 'KEY_NOT_FOUND'],
    [`${vault}/keys/k/versions/${'0'.repeat(32)}`, 'KEY_CHANGE_DISABLE', 'KEY_VERSION_NOT_FOUND'],
    [version, 'KEY_CHANGE_DELETE', 'KEY_CHANGE_NOT_APPLICABLE'],
    [vault, 'KEY_CHANGE_EXPIRE', 'KEY_CHANGE_NOT_APPLICABLE'],
    [`${vault}/keys/k`, 'KEY_CHANGE_UNSPECIFIED', 'KEY_CHANGE_NOT_APPLICABLE'],
    ['kv', 'KEY_CHANGE_DELETE', 'NAME_INVALID'],
  ] as const;
  for (const [name, change, reason] of refusals) await assert.rejects(ask({ name, change }), { reason }, reason);
});

test('a preview for an invalid principal name is refused, also with permittedElsewhere', async () => {
  const vault = await newVault(world);
  const ask = asSets().authorizeImpactPreview;
  for (const principal of ['\u0000', 'x'.repeat(10_000), 'principals/me']) {
    for (const permittedElsewhere of [true, false]) {
      await assert.rejects(
        ask({ name: vault, change: 'KEY_CHANGE_DELETE', principal, tenant, permittedElsewhere }),
        { code: 'INVALID_ARGUMENT', reason: 'NAME_INVALID' },
        `${JSON.stringify(principal.slice(0, 20))}, ${permittedElsewhere}`,
      );
    }
  }
});

test('CMK-134: a preview of a purge says that purge protection forbids it', async () => {
  const ask = asSets().authorizeImpactPreview;
  for (const [purgeProtected, refusedWith] of [
    [true, 'PURGE_PROTECTED'],
    [false, ''],
  ] as const) {
    const vault = await newVault(world, { purgeProtected });
    await world.vault().createKey({ parent: vault, keyId: 'k', requestId: randomUUID() });
    for (const name of [vault, `${vault}/keys/k`]) {
      assert.equal((await ask({ name, change: 'KEY_CHANGE_PURGE' })).refusedWith, refusedWith);
      assert.equal((await ask({ name, change: 'KEY_CHANGE_DELETE' })).refusedWith, '');
    }
  }
});

test('CMK-11: the audit entry of a preview names the principal, the resource, and the service as the caller', async () => {
  const vault = await newVault(world);
  const { name: version } = await world.vault().createKey({ parent: vault, keyId: 'k', requestId: randomUUID() });
  const { name: principal } = await world.newPrincipal();
  const ask = asSets().authorizeImpactPreview;
  const looked = { name: version, change: 'KEY_CHANGE_DISABLE', principal, tenant } as const;
  await assert.rejects(ask(looked), { reason: 'ACCESS_DENIED' });
  await ask({ ...looked, permittedElsewhere: true });
  const byThem = { parent: vault, principal, operation: 'ImpactPreview' };
  const { auditEntries } = await world.vault().listAuditEntries(byThem);
  assert.deepEqual(
    auditEntries.map(({ onBehalfOf, resource, keyVersion, result }) => [onBehalfOf, resource, keyVersion, result]),
    [
      [principal, version, version, 'REFUSED'],
      [principal, version, version, 'SUCCESS'],
    ],
  );
  assert.ok(
    auditEntries.every(({ caller }) => caller !== principal && caller !== ''),
    'the service asked',
  );
});
