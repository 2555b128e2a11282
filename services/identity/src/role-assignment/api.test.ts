import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cause, category, memoryStore } from '@interlock/event-store';
import type { Authorizer, Call } from '@interlock/rpc';
import { systemClock as clock, systemRandom as random } from '@interlock/runtime';
import { PlatformOwners } from '../platform-owner/owners.ts';
import { ownerRemovals } from '../platform-owner/removals.ts';
import { addSecret, create, principals as definition, remove } from '../principal/decider.ts';
import { subscriptions as subscriptionStreams } from '../tenancy/decider.ts';
import { roleAssignmentApi } from './api.ts';
import { type Assigning, openAssigning } from './assigning.ts';
import { roleAssignments } from './decider.ts';
import { grantHolders } from './grant-holder.ts';
import { permissions } from './permissions.ts';

test('an assignment to a principal that is deleted meanwhile is refused, and no role is left', async () => {
  const store = memoryStore({ clock });
  const principals = category(store, definition);
  const assignments = category(store, roleAssignments);
  const owners = new PlatformOwners({ store, principals, assignments, removals: category(store, ownerRemovals) });
  const give = openAssigning({ store, assignments, holders: category(store, grantHolders) });
  const cause: Cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const id = random.uuid();
  const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'a user' } as const;
  await principals.transact(id, create(clock.now(), request), cause);
  /** The deletion of the principal has already listed its roles. */
  const assigning: Assigning = async (...wanted) => {
    await principals.transact(id, remove(clock.now()), cause);
    return give(...wanted);
  };
  const authorize = async () => ({ allowed: true, principalActive: true });
  const api = roleAssignmentApi({ clock, authorize, principals, assignments, assigning, owners });
  const call = { caller: { kind: 'user', id: 'u', name: 'principals/u', tenant: 't' }, cause } as Call;
  const grant = { principal: `principals/${id}`, role: 'roles/reader', scope: '/' };
  await assert.rejects(api.createRoleAssignment({ roleAssignmentId: random.uuid(), ...grant }, call), {
    code: 'NOT_FOUND',
    reason: 'PRINCIPAL_NOT_FOUND',
  });
  const held = await assignments.listAll({ index: { index: 'principal', value: grant.principal } });
  assert.deepEqual(held, []);
});

/** How the owner is removed, and the error that it gets. */
const ends = {
  'by the role': { isActing: true, refusal: { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' } },
  'deleted, without a secret': { isActing: false, refusal: { code: 'UNAUTHENTICATED', reason: 'PRINCIPAL_DELETED' } },
} as const;

for (const [how, { isActing, refusal }] of Object.entries(ends))
  test(`an owner of the platform that is removed (${how}) while it assigns another owner is refused`, async () => {
    const store = memoryStore({ clock });
    const principals = category(store, definition);
    const assignments = category(store, roleAssignments);
    const judge = permissions({ principals, assignments, subscriptions: category(store, subscriptionStreams) });
    const owners = new PlatformOwners({ store, principals, assignments, removals: category(store, ownerRemovals) });
    const holders = category(store, grantHolders);
    const cause: Cause = { correlationId: 'c', causes: [], caller: 'system:test' };
    const owning = { role: 'roles/owner', scope: '/' };
    const newPrincipal = async (hasSecret = true) => {
      const id = random.uuid();
      const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'a user' } as const;
      await principals.transact(id, create(clock.now(), request), cause);
      if (hasSecret) await principals.transact(id, addSecret(clock.now(), 's', id, undefined), cause);
      return id;
    };
    const newOwner = async (hasSecret = true) => {
      const id = await newPrincipal(hasSecret);
      const grant = { principal: `principals/${id}`, ...owning };
      await openAssigning({ store, assignments, holders })(id, grant, clock.now(), cause);
      return id;
    };
    await newOwner();
    const id = await newOwner(isActing);
    const friend = `principals/${await newPrincipal()}`;
    let isTaken = false;
    const slow: typeof store.commit = async (...what) => {
      if (!isTaken) {
        isTaken = true;
        if (isActing) await owners.removeAssignment(id, clock.now(), cause, {});
        else await owners.changePrincipal(id, remove(clock.now()), clock.now(), cause, {});
      }
      return store.commit(...what);
    };
    const assigning = openAssigning({ store: { ...store, commit: slow }, assignments, holders });
    const authorize: Authorizer = (principal, action, scope) => judge(principal.id, action, scope);
    const api = roleAssignmentApi({ clock, authorize, principals, assignments, assigning, owners });
    const call = { caller: { kind: 'user', id, name: `principals/${id}`, tenant: 't' }, cause } as Call;
    const request = { roleAssignmentId: random.uuid(), principal: friend, ...owning };
    await assert.rejects(api.createRoleAssignment(request, call), refusal);
    const held = await assignments.listAll({ index: { index: 'principal', value: friend } });
    assert.deepEqual(held, []);
    assert.ok(isTaken);
  });
