import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { testCertificate } from '../../services/identity/src/token/test-certificate.ts';
import { type Az, azMissing, openAz, signIn } from './az.ts';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';

const missing = azMissing();
const skip = missing ?? false;
const group = 'rehearsal';
const vault = 'kv-az';
const inVault = ['--vault-name', vault, '-n', 'k1'];
const ofMachines = ['--vault-name', 'kv-vms', '-n', 'k1'];
const purgeProtected = ['--enable-rbac-authorization', 'false', '--enable-purge-protection', 'true'];
let cloud: AzureCloud;
let az: Az;

before(async () => {
  if (missing !== undefined) return;
  cloud = await azureCloud();
  az = await openAz(cloud.access);
});
after(async () => {
  az?.close();
  await cloud?.stop();
});

/** Runs a command that must fail with this exit code and print an error that matches. */
const refusedWith = async (words: readonly string[], wanted: RegExp, exitCode = 1): Promise<void> => {
  const result = await az.attempt(...words);
  assert.deepEqual(
    [result.exitCode, wanted.test(result.stderr)],
    [exitCode, true],
    `${words.join(' ')}: ${result.stderr}`,
  );
};

test("az signs in with a secret; a wrong one is refused with Azure's error AADSTS7000215", { skip }, async () => {
  const { clientId, tenant, subscription } = cloud.access;
  const wrong = ['login', '--service-principal', '-u', clientId, '-p', 'wrong', '--tenant', tenant];
  await refusedWith(wrong, /AADSTS7000215/);
  await signIn(az, cloud.access, cloud.test.cloud.administrator.secret);
  const account = await az.run<{ id: string; tenantId: string; environmentName: string }>('account', 'show');
  assert.deepEqual([account.id, account.tenantId, account.environmentName], [subscription, tenant, 'Interlock']);
});

test('az creates, shows, lists and deletes resource groups', { skip }, async () => {
  await az.run('group', 'create', '-n', group, '-l', 'westeurope', '--tags', 'team=disks');
  const shown = await az.run<{ location: string; tags: object }>('group', 'show', '-n', group);
  assert.deepEqual([shown.location, shown.tags], ['westeurope', { team: 'disks' }]);
  await az.run('group', 'create', '-n', 'other', '-l', 'westeurope');
  const names = (await az.run<{ name: string }[]>('group', 'list')).map(({ name }) => name);
  assert.deepEqual(names.sort(), ['other', group]);
  await az.run('network', 'vnet', 'create', '-g', 'other', '-n', 'v1', '-l', 'westeurope');
  await az.run('group', 'delete', '-n', 'other', '--yes');
  assert.equal(await az.run('group', 'exists', '-n', 'other'), false);
});

test('KV-70, KV-72: az creates a vault with access policies, lists it, and sets and deletes policies', {
  skip,
}, async () => {
  const { clientId } = cloud.access;
  const created = await az.run<{ properties: { vaultUri: string; accessPolicies: { objectId: string }[] } }>(
    ...['keyvault', 'create', '-n', vault, '-g', group, '-l', 'westeurope', '--enable-rbac-authorization', 'false'],
    ...['--retention-days', '7'],
  );
  assert.equal(created.properties.vaultUri, `${cloud.vaultUrl(vault)}/`);
  assert.deepEqual(
    created.properties.accessPolicies.map(({ objectId }) => objectId),
    [clientId],
  );
  const all = ['all', 'purge'];
  const policy = ['--object-id', clientId, '--key-permissions', ...all];
  await az.run('keyvault', 'set-policy', '-n', vault, '-g', group, ...policy);
  const other = randomUUID();
  const permissions = ['get', 'wrapkey', 'unwrapkey'];
  await az.run(
    'keyvault',
    'set-policy',
    '-n',
    vault,
    '-g',
    group,
    '--object-id',
    other,
    '--key-permissions',
    ...permissions,
  );
  const shown = await az.run<typeof created>('keyvault', 'show', '-n', vault, '-g', group);
  assert.equal(shown.properties.accessPolicies.length, 2);
  await az.run('keyvault', 'delete-policy', '-n', vault, '-g', group, '--object-id', other);
  const listed = await az.run<{ name: string }[]>('keyvault', 'list', '-g', group);
  assert.deepEqual(
    listed.map(({ name }) => name),
    [vault],
  );
});

test('KV-32, KV-33: az creates, disables, rotates, lists and uses keys', { skip }, async () => {
  const created = await az.run<{ key: { kid: string } }>(
    'keyvault',
    'key',
    'create',
    ...inVault,
    '--kty',
    'RSA',
    '--size',
    '3072',
  );
  assert.ok(created.key.kid.startsWith(`${cloud.vaultUrl(vault)}/keys/k1/`));
  const text = randomBytes(24).toString('base64');
  const algorithm = ['-a', 'RSA-OAEP-256'];
  const { result } = await az.run<{ result: string }>(
    'keyvault',
    'key',
    'encrypt',
    ...inVault,
    ...algorithm,
    '--value',
    text,
  );
  const decrypt = ['keyvault', 'key', 'decrypt', ...inVault, ...algorithm, '--value', result];
  assert.equal((await az.run<{ result: string }>(...decrypt)).result, text);

  await az.run('keyvault', 'key', 'set-attributes', ...inVault, '--enabled', 'false');
  await refusedWith(decrypt, /KeyDisabled/);
  await az.run('keyvault', 'key', 'set-attributes', ...inVault, '--enabled', 'true');
  assert.equal((await az.run<{ result: string }>(...decrypt)).result, text);

  await az.run('keyvault', 'key', 'rotate', ...inVault);
  const versions = await az.run<unknown[]>('keyvault', 'key', 'list-versions', ...inVault);
  assert.equal(versions.length, 2);
  const digest = randomBytes(32).toString('base64');
  const signed = await az.run<{ signature: string }>(
    'keyvault',
    'key',
    'sign',
    ...inVault,
    '-a',
    'RS256',
    '--digest',
    digest,
  );
  const verify = [
    'keyvault',
    'key',
    'verify',
    ...inVault,
    '-a',
    'RS256',
    '--digest',
    digest,
    '--signature',
    signed.signature,
  ];
  assert.equal((await az.run<{ isValid: boolean }>(...verify)).isValid, true);
  await refusedWith(['keyvault', 'key', 'show', '--vault-name', vault, '-n', 'missing'], /KeyNotFound/, 3);
});

test('KV-14, KV-29: az deletes, lists, recovers, backs up, restores and purges keys', { skip }, async () => {
  const file = join(cloud.test.folder, 'k1.backup');
  await az.run('keyvault', 'key', 'backup', ...inVault, '-f', file);
  await az.run('keyvault', 'key', 'delete', ...inVault);
  const deleted = await az.run<{ kid: string }[]>('keyvault', 'key', 'list-deleted', '--vault-name', vault);
  assert.equal(deleted.length, 1);
  await az.run('keyvault', 'key', 'recover', ...inVault);
  await az.run('keyvault', 'key', 'show', ...inVault);
  await az.run('keyvault', 'key', 'delete', ...inVault);
  await az.run('keyvault', 'key', 'purge', ...inVault);
  const restored = await az.run<{ key: { kid: string } }>(
    'keyvault',
    'key',
    'restore',
    '--vault-name',
    vault,
    '-f',
    file,
  );
  assert.match(restored.key.kid, /\/keys\/k1\//);
});

test('az assigns, lists and removes a role', { skip }, async () => {
  const { administrator } = cloud.test.cloud;
  const principalId = randomUUID();
  const wanted = { principalId, tenant: administrator.tenant, type: 'APPLICATION', displayName: 'officer' } as const;
  await cloud.test.clients.identity.createPrincipal(wanted);
  const { id: scope } = await az.run<{ id: string }>('group', 'show', '-n', group);
  const assignment = ['--role', 'Key Vault Crypto Officer', '--scope', scope];
  const assignee = ['--assignee-object-id', principalId, '--assignee-principal-type', 'ServicePrincipal'];
  await az.run('role', 'assignment', 'create', ...assignment, ...assignee);
  const listed = await az.run<{ principalId: string; roleDefinitionName: string; principalName: string }[]>(
    ...['role', 'assignment', 'list', '--scope', scope, '--assignee', principalId],
  );
  assert.deepEqual(
    listed.map(({ roleDefinitionName }) => roleDefinitionName),
    ['Key Vault Crypto Officer'],
  );
  await az.run('role', 'assignment', 'delete', ...assignment, '--assignee', principalId);
});

test('az signs in with a registered certificate, and with the managed identity endpoint', {
  skip,
}, async () => {
  const { clientId, tenant, loopbackUrl, loopbackClientId, subscription } = cloud.access;
  const { file, certificate } = await selfSigned(cloud.test.folder);
  const principal = `principals/${clientId}`;
  await cloud.test.clients.identity.addSecret({ principal, secretId: 'certificate', certificate });
  await az.run('account', 'clear');
  await az.run('login', '--service-principal', '-u', clientId, '--certificate', file, '--tenant', tenant);
  await az.run('group', 'show', '-n', group);
  const assignee = ['--assignee-object-id', loopbackClientId, '--assignee-principal-type', 'ServicePrincipal'];
  const scope = `/subscriptions/${subscription}`;
  await az.run('role', 'assignment', 'create', '--role', 'Contributor', '--scope', scope, ...assignee);
  const other = await openAz(cloud.access, { AZURE_POD_IDENTITY_AUTHORITY_HOST: loopbackUrl });
  try {
    await other.run('login', '--identity');
    await other.run('group', 'show', '-n', group);
  } finally {
    other.close();
  }
});

test('KV-66: az deletes, lists, recovers and purges a vault', { skip }, async () => {
  await az.run('keyvault', 'delete', '-n', vault, '-g', group);
  const deleted = await az.run<{ name: string }[]>('keyvault', 'list-deleted');
  assert.deepEqual(
    deleted.map(({ name }) => name),
    [vault],
  );
  await az.run('keyvault', 'recover', '-n', vault);
  await az.run('keyvault', 'show', '-n', vault, '-g', group);
  await az.run('keyvault', 'delete', '-n', vault, '-g', group);
  await az.run('keyvault', 'purge', '-n', vault);
  assert.deepEqual(await az.run('keyvault', 'list-deleted'), []);
});

test('CMK-50, VM-10: az creates a set, disks and a machine from them', { skip }, async () => {
  await az.run('keyvault', 'create', '-n', 'kv-vms', '-g', group, '-l', 'westeurope', ...purgeProtected);
  const key = await az.run<{ key: { kid: string } }>('keyvault', 'key', 'create', ...ofMachines, '--kty', 'RSA');
  const set = ['disk-encryption-set', 'create', '-g', group, '-n', 'des1', '-l', 'westeurope'];
  const { identity } = await az.run<{ identity: { principalId: string } }>(
    ...[...set, '--key-url', key.key.kid, '--source-vault', 'kv-vms'],
  );
  const policy = ['--object-id', identity.principalId, '--key-permissions', 'get', 'wrapKey', 'unwrapKey'];
  await az.run('keyvault', 'set-policy', '-n', 'kv-vms', '-g', group, ...policy);
  const disk = ['disk', 'create', '-g', group, '-l', 'westeurope', '--size-gb', '1', '--disk-encryption-set', 'des1'];
  const { encryption } = await az.run<{ encryption: { type: string } }>(...disk, '-n', 'os1');
  assert.equal(encryption.type, 'EncryptionAtRestWithCustomerKey');
  await az.run(...disk, '-n', 'data1');
  const inert = ['--public-ip-address', '', '--nsg', ''];
  const machine = ['-g', group, '-n', 'vm1'];
  await az.run('vm', 'create', ...machine, '--attach-os-disk', 'os1', '--os-type', 'linux', ...inert);
  await az.run('vm', 'disk', 'attach', '-g', group, '--vm-name', 'vm1', '-n', 'data1');
  const states = ['vm', 'get-instance-view', ...machine, '--query', 'instanceView.statuses[].code'];
  assert.ok((await az.run<readonly string[]>(...states)).includes('PowerState/running'));
  await az.run('vm', 'delete', ...machine, '--yes');
});

test('CMK-40: az creates an identity and a set that uses it', { skip }, async () => {
  const { id, principalId } = await az.run<{ id: string; principalId: string }>(
    'identity',
    'create',
    '-g',
    group,
    '-n',
    'id1',
  );
  const kid = await az.run<string>('keyvault', 'key', 'show', ...ofMachines, '--query', 'key.kid');
  const set = ['disk-encryption-set', 'create', '-g', group, '-n', 'des-id1', '-l', 'westeurope', '--key-url', kid];
  const withIdentity = [...set, '--source-vault', 'kv-vms', '--mi-user-assigned', id];
  await refusedWith(withIdentity, /KeyVaultAccessForbidden/);
  const policy = ['--object-id', principalId, '--key-permissions', 'get', 'wrapKey', 'unwrapKey'];
  await az.run('keyvault', 'set-policy', '-n', 'kv-vms', '-g', group, ...policy);
  const { identity } = await az.run<{ identity: { type: string } }>(...withIdentity);
  assert.equal(identity.type, 'UserAssigned');
  const same = ['--key-url', kid, '--source-vault', 'kv-vms'];
  await az.run('disk-encryption-set', 'update', '-g', group, '-n', 'des-id1', ...same);
  await az.run('disk-encryption-set', 'delete', '-g', group, '-n', 'des-id1');
  const listed = await az.run<{ name: string }[]>('identity', 'list', '-g', group);
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['id1'],
  );
  await az.run('identity', 'delete', '-g', group, '-n', 'id1');
});

test('KV-34, VM-26, VM-29: az sets a rotation policy, changes the class of a disk, and tags it by its resource id', {
  skip,
}, async () => {
  const file = join(cloud.test.folder, 'policy.json');
  const rotate = { trigger: { timeAfterCreate: 'P90D' }, action: { type: 'Rotate' } };
  writeFileSync(file, JSON.stringify({ lifetimeActions: [rotate], attributes: { expiryTime: 'P2Y' } }));
  await az.run('keyvault', 'key', 'rotation-policy', 'update', ...ofMachines, '--value', file);
  const { expiresIn } = await az.run<{ expiresIn: string }>(
    'keyvault',
    'key',
    'rotation-policy',
    'show',
    ...ofMachines,
  );
  assert.equal(expiresIn, 'P2Y');
  const updated = ['disk', 'update', '-g', group, '-n', 'data1', '--sku', 'StandardSSD_LRS'];
  const { id, sku } = await az.run<{ id: string; sku: { name: string } }>(...updated);
  assert.equal(sku.name, 'StandardSSD_LRS');
  await az.run('tag', 'update', '--resource-id', id, '--operation', 'Merge', '--tags', 'a=b');
  const { tags } = await az.run<{ tags: object }>('disk', 'show', '-g', group, '-n', 'data1');
  assert.deepEqual(tags, { a: 'b' });
  assert.ok((await az.run<unknown[]>('resource', 'list', '-g', group)).length > 0);
});

test('az previews and deploys a template with comments, and gets NotSupported for what is not emulated', {
  skip,
}, async () => {
  const file = join(cloud.test.folder, 'template.json');
  const disk = `{"type": "Microsoft.Compute/disks", "apiVersion": "2023-04-02", "name": "[format('{0}1', 'dt')]",
    "location": "[resourceGroup().location]", "sku": {"name": "Standard_LRS"},
    "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 1}}`;
  const schema = 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#';
  writeFileSync(
    file,
    `{ /* one disk */ "$schema": "${schema}", "contentVersion": "1.0.0.0", "resources": [ ${disk} ] }`,
  );
  const whatIf = ['deployment', 'group', 'what-if', '-g', group, '-f', file, '--no-pretty-print'];
  const changeOf = async () =>
    (await az.run<{ changes: { changeType: string }[] }>(...whatIf)).changes.map(({ changeType }) => changeType);
  assert.deepEqual(await changeOf(), ['Create']);
  await az.run('deployment', 'group', 'create', '-g', group, '-f', file, '-n', 'dep1');
  assert.deepEqual(await changeOf(), ['NoChange']);
  const inSubscription = ['deployment', 'sub', 'create', '-l', 'westeurope', '-f', file];
  await refusedWith(inSubscription, /NotSupported/);
  await refusedWith(['lock', 'create', '-n', 'l', '-g', group, '--lock-type', 'CanNotDelete'], /NotSupported/);
  await refusedWith(['keyvault', 'secret', 'list', '--vault-name', 'kv-vms'], /NotSupported/);
});

/** A PEM file with private key and certificate, in the format that az reads. */
const selfSigned = async (folder: string): Promise<{ readonly file: string; readonly certificate: string }> => {
  const { certificate, privateKey } = await testCertificate(new Date(Date.now() + 86_400_000));
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', privateKey)).toString('base64');
  const lines = pkcs8.replaceAll(/.{64}/g, '$&\n');
  const file = join(folder, 'client.pem');
  writeFileSync(file, `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n${certificate}\n`, {
    mode: 0o600,
  });
  return { file, certificate };
};
