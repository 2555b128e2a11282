import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { AuthorizationManagementClient } from '@azure/arm-authorization';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import { KeyClient } from '@azure/keyvault-keys';
import { credentialOf } from './test-azure-cloud.ts';
import { type AzurePlace, azurePlace, innerTenant } from './test-azure-place.ts';

let cloud: AzurePlace;
before(async () => {
  cloud = await azurePlace();
});
after(() => cloud?.close());

test('KV-73, KV-83: without a role, a vault responds ForbiddenByRbac; with it another principal creates keys', async () => {
  const { credential, place, tenant, subscription, url } = cloud;
  const principalId = randomUUID();
  const wish = { principalId, tenant: `tenants/${innerTenant}`, type: 'APPLICATION', displayName: 'officer' } as const;
  const { name: principal } = await place.identity.createPrincipal(wish);
  const { secretText: secret } = await place.identity.addSecret({ principal, secretId: 'one' });
  const management = new KeyVaultManagementClient(credential, subscription, { endpoint: url });
  const properties = {
    tenantId: tenant,
    sku: { family: 'A', name: 'standard' },
    enableRbacAuthorization: true,
  } as const;
  const { id: scope = '' } = await management.vaults.createOrUpdate('g1', 'kv-roles', {
    location: 'westeurope',
    properties,
  });
  const keys = new KeyClient(cloud.vaultUrl('kv-roles'), credentialOf(cloud, { id: principalId, secret }));
  await assert.rejects(keys.createRsaKey('k1'), ({ statusCode, details }) => {
    assert.deepEqual([statusCode, details.error.innerError.code], [403, 'ForbiddenByRbac']);
    return true;
  });

  const authorization = new AuthorizationManagementClient(credential, subscription, { endpoint: url });
  const definitions = [];
  const filter = "roleName eq 'Key Vault Crypto Officer'";
  for await (const one of authorization.roleDefinitions.list(scope, { filter })) definitions.push(one);
  const [definition] = definitions;
  assert.equal(definitions.length, 1);
  const roleDefinitionId = definition?.id ?? '';
  const id = randomUUID();
  const made = await authorization.roleAssignments.create(scope, id, { roleDefinitionId, principalId });
  assert.equal(made.scope, scope);
  await assert.rejects(authorization.roleAssignments.create(scope, randomUUID(), { roleDefinitionId, principalId }), {
    statusCode: 409,
    code: 'RoleAssignmentExists',
  });
  assert.equal((await keys.createRsaKey('k1')).name, 'k1');
  const listed = [];
  for await (const one of authorization.roleAssignments.listForScope(scope, { filter: 'atScope()' }))
    listed.push(one.name);
  assert.ok(listed.includes(id));
  await authorization.roleAssignments.delete(scope, id);
});
