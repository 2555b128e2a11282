import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SetPermissionModelRequest } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { type Cause, category, memoryStore, Rejection } from '@interlock/event-store';
import type { Authorizer, Call, Principal } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import { createGuard } from '../access/guard.ts';
import type { AuditLog } from '../audit/log.ts';
import { keyUrls } from '../names.ts';
import { vaultApi } from './api.ts';
import { create, setPermissionModel } from './decider.ts';
import { vaults as vaultStreams } from './vault.ts';

const cause: Cause = { correlationId: 'c', causes: [], caller: 'principals/p' };
const contributor: Principal = { kind: 'app', id: 'p', name: 'principals/p', tenant: 't' };

test('KV-74: a caller who may not leave the role model cannot undo a change to roles that is made meanwhile', async () => {
  const clock = virtualClock();
  const vaults = category(memoryStore({ clock }), vaultStreams);
  const requested = {
    resourceGroup: 'subscriptions/s/resourceGroups/g',
    tenant: 'tenants/t',
    location: 'l',
    sku: 'standard',
    permissionModel: 'access_policy',
    accessPolicies: {},
    retentionDays: 90,
    purgeProtected: false,
  } as const;
  await vaults.transact('kv1', create(0, requested), cause);
  let questions = 0;
  const authorize: Authorizer = async (_principal, action) => {
    questions += 1;
    // The owner changes the vault to roles after it was read and before the decision.
    if (questions === 1) await vaults.transact('kv1', setPermissionModel(1, 'role_assignment', false), cause);
    return { allowed: action === 'keyVault/vaults/write', principalActive: true };
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
  const request: SetPermissionModelRequest = {
    name: 'vaults/kv1',
    permissionModel: 'ACCESS_POLICY',
    etag: '',
    confirmName: '',
  };
  const asked = () => api.setPermissionModel(request, { caller: contributor, cause } as Call);
  const isRefusal = (reason: string) => (error: unknown) => error instanceof Rejection && error.reason === reason;
  await assert.rejects(asked(), isRefusal('CONTENTION'));
  await assert.rejects(asked(), isRefusal('ACCESS_DENIED'));
  const { state } = await vaults.load('kv1');
  assert.equal(state.status === 'active' && state.permissionModel, 'role_assignment');
});
