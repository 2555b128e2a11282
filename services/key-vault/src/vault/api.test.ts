import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore } from '@interlock/event-store';
import type { Authorizer, Call, Principal } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import { createGuard } from '../access/guard.ts';
import type { AuditLog } from '../audit/log.ts';
import { keyUrls } from '../names.ts';
import { vaultApi } from './api.ts';
import { create, finishPurge, remove, startPurge } from './decider.ts';
import { vaults as vaultStreams } from './vault.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const owner: Principal = { kind: 'app', id: 'p', name: 'principals/p', tenant: 't' };

test('KV-15, KV-70: an authorization for a vault does not count for the next vault of that name', async () => {
  const clock = virtualClock();
  const vaults = category(memoryStore({ clock }), vaultStreams);
  const requested = {
    resourceGroup: 'subscriptions/s/resourceGroups/own',
    tenant: 'tenants/t',
    location: 'l',
    sku: 'standard',
    permissionModel: 'access_policy',
    accessPolicies: {},
    retentionDays: 90,
    purgeProtected: false,
  } as const;
  const store = (decide: Parameters<typeof vaults.transact>[1]) => vaults.transact('kv1', decide, cause);
  await store(create(clock.now(), requested));
  const authorize: Authorizer = async (_principal, _action, scope) => {
    // After the vault was read, another owner takes its name.
    for (const decide of [remove(1, 1), startPurge(2), finishPurge(3)]) await store(decide);
    await store(create(clock.now() + 1, { ...requested, resourceGroup: 'subscriptions/s/resourceGroups/others' }));
    return { allowed: scope.startsWith(requested.resourceGroup), principalActive: true };
  };
  const entry = { inVault: () => {}, changing: () => {} };
  const log = {
    audited:
      (_operation: string, handle: (request: unknown, call: unknown, draft: unknown) => unknown) =>
      (request: unknown, call: unknown) =>
        handle(request, call, entry),
  } as unknown as AuditLog;
  const parts = { clock, vaults, guard: createGuard({ clock, vaults, authorize }), authorize, log };
  const api = vaultApi({ ...parts, urls: keyUrls('vault.test') } as unknown as Parameters<typeof vaultApi>[0]);
  const accessPolicy = {
    principal: `principals/${'1'.repeat(8)}-1111-4111-8111-${'1'.repeat(12)}`,
    keyPermissions: ['ALL' as const],
  };
  const asked = api.setAccessPolicy({ name: 'vaults/kv1', accessPolicy, etag: '' }, { caller: owner, cause } as Call);
  await assert.rejects(asked, { reason: 'VAULT_NOT_FOUND' });
  const { state } = await vaults.load('kv1');
  assert.deepEqual(state.status === 'active' && [state.resourceGroup, state.accessPolicies], [
    'subscriptions/s/resourceGroups/others',
    {},
  ]);
});
