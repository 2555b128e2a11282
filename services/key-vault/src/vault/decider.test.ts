import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import {
  accessPoliciesMax,
  create,
  enablePurgeProtection,
  finishPurge,
  recordGrantChange,
  recordIdentityAnswer,
  recover,
  remove,
  removeAccessPolicy,
  setAccessPolicy,
  setPermissionModel,
  startPurge,
} from './decider.ts';
import type { NewVault, VaultEvent } from './events.ts';
import { dueTime, evolve, exists, identityKnownTo, initial, type Vault } from './vault.ts';

const at = 1_000_000;
const dayMs = 1_000;
const request: NewVault = {
  resourceGroup: 'subscriptions/s/resourceGroups/g',
  tenant: 'tenants/t',
  location: 'westeurope',
  sku: 'standard',
  permissionModel: 'access_policy',
  accessPolicies: { 'principals/a': ['get'] },
  retentionDays: 90,
  purgeProtected: false,
};
const fold = (events: readonly VaultEvent[]): Vault => events.reduce(evolve, initial);
type Command = (vault: Vault) => readonly VaultEvent[];
const given = (...events: VaultEvent[]) => ({ when: (command: Command) => command(fold(events)) });
const created: VaultEvent = { type: 'VaultCreated', ...request, at };
const deleted: VaultEvent = { type: 'VaultDeleted', purgeAt: at + 90 * dayMs, at };
const begun: VaultEvent = { type: 'VaultPurgeStarted', at };
const purged: VaultEvent = { type: 'VaultPurged', at };

test('a vault is created once; a repeated request decides nothing, also after its grants changed', () => {
  assert.deepEqual(given().when(create(at, request)), [created]);
  const changed: VaultEvent = { type: 'AccessPolicyRemoved', principal: 'principals/a', at };
  assert.deepEqual(given(created, changed).when(create(at, request)), []);
  assert.throws(() => given(created).when(create(at, { ...request, location: 'eastus' })), {
    reason: 'VAULT_ALREADY_EXISTS',
  });
});

test('KV-61: retention is 7 to 90 days', () => {
  for (const retentionDays of [6, 91, 7.5, -1]) {
    assert.throws(() => given().when(create(at, { ...request, retentionDays })), { reason: 'RETENTION_INVALID' });
  }
  assert.equal(given().when(create(at, { ...request, retentionDays: 7 })).length, 1);
});

test('KV-60, KV-66: a deleted vault is soft-deleted for its retention, and comes back as it was', () => {
  assert.deepEqual(given(created).when(remove(at, dayMs)), [deleted]);
  assert.equal(dueTime(fold([created, deleted])), at + 90 * dayMs);
  const back = given(created, deleted).when(recover(at));
  assert.deepEqual(fold([created, deleted, ...back]), { ...fold([created]), deletionCount: 1 });
  assert.throws(() => given(created, deleted).when(setAccessPolicy(at, 'principals/b', ['get'])), {
    reason: 'VAULT_DELETED',
  });
});

test('KV-62: purge protection can be turned on; turning it on again decides nothing', () => {
  const on = given(created).when(enablePurgeProtection(at));
  assert.deepEqual(on, [{ type: 'PurgeProtectionEnabled', at }]);
  assert.deepEqual(given(created, ...on).when(enablePurgeProtection(at)), []);
});

test('KV-63, KV-94: a protected vault cannot be purged before its time; an unprotected one can at once', () => {
  assert.throws(() => given(created).when(startPurge(at)), { reason: 'VAULT_NOT_DELETED' });
  assert.deepEqual(given(created, deleted).when(startPurge(at)), [begun]);
  const protectedVault: VaultEvent = { ...created, purgeProtected: true };
  assert.throws(() => given(protectedVault, deleted).when(startPurge(at + 90 * dayMs - 1)), {
    reason: 'PURGE_PROTECTED',
  });
  assert.equal(given(protectedVault, deleted).when(startPurge(at + 90 * dayMs)).length, 1);
});

test('KV-64: the name of a deleted vault is held, also while its keys are being purged; then it is free', () => {
  assert.throws(() => given(created, deleted).when(create(at, request)), { reason: 'VAULT_NAME_HELD' });
  assert.throws(() => given(created, deleted, begun).when(create(at, request)), { reason: 'VAULT_NAME_HELD' });
  assert.throws(() => given(created, deleted, begun).when(recover(at)), { reason: 'VAULT_NOT_FOUND' });
  assert.deepEqual(given(created, deleted, begun, purged).when(create(at, request)), [created]);
});

test('KV-72: at most 1,024 principals have access policies; an existing policy can still be changed', () => {
  const accessPolicies = Object.fromEntries(
    Array.from({ length: accessPoliciesMax }, (_, n) => [`principals/${n}`, ['get'] as const]),
  );
  const full: VaultEvent = { ...created, accessPolicies };
  assert.throws(() => given(full).when(setAccessPolicy(at, 'principals/new', ['get'])), {
    code: 'RESOURCE_EXHAUSTED',
    reason: 'TOO_MANY_ACCESS_POLICIES',
  });
  assert.equal(given(full).when(setAccessPolicy(at, 'principals/1', ['list'])).length, 1);
});

test('a change at identity is recorded once per source, and never after a newer one', () => {
  const change = { source: 'roleAssignments/1', position: 5, principal: 'principals/a', removed: true };
  const noted = given(created).when(recordGrantChange(at, change));
  assert.deepEqual(noted, [{ type: 'GrantsChanged', ...change, at }]);
  assert.deepEqual(given(created, ...noted).when(recordGrantChange(at, change)), []);
  assert.deepEqual(given(created, ...noted).when(recordGrantChange(at, { ...change, position: 4 })), []);
  assert.equal(given(created, ...noted).when(recordGrantChange(at, { ...change, position: 6 })).length, 1);
  assert.deepEqual(given().when(recordGrantChange(at, change)), []);
});

test('a vault keeps a limited number of changes at identity, the newest ones', () => {
  const change = (n: number) => ({
    source: `roleAssignments/${n}`,
    position: n,
    principal: 'principals/a',
    removed: true,
  });
  const events = Array.from({ length: 2_000 }, (_, n): VaultEvent => ({ type: 'GrantsChanged', ...change(n + 1), at }));
  const vault = fold([created, ...events]);
  assert.ok(exists(vault));
  assert.ok(Object.keys(vault.grantChanges).length < 1_000);
  assert.equal(identityKnownTo(vault), 2_000);
  for (const n of [2_000, 1_900]) assert.deepEqual(recordGrantChange(at, change(n))(vault), [], 'received again');
  assert.equal(recordGrantChange(at, change(2_001))(vault).length, 1);
});

test('the newest of 200,000 changes at identity is found', () => {
  const changes = Array.from({ length: 200_000 }, (_, n) => [`roleAssignments/${n}`, n] as const);
  assert.equal(identityKnownTo({ grantChanges: Object.fromEntries(changes) }), 199_999);
  assert.equal(identityKnownTo({ grantChanges: {} }), 0);
});

test("G1: a change of identity's decision is recorded, a refusal first; a repeated decision is not", () => {
  const roles: VaultEvent = { ...created, permissionModel: 'role_assignment' };
  const no = { principal: 'principals/a', key: 'vaults/v/keys/k', removed: true, position: 5 };
  const yes = { ...no, removed: false, position: 9 };
  const refused = given(roles).when(recordIdentityAnswer(at, no));
  assert.deepEqual(refused, [{ type: 'IdentityAnswerChanged', ...no, at }]);
  assert.deepEqual(given(roles).when(recordIdentityAnswer(at, yes)), []);
  assert.deepEqual(given(roles, ...refused).when(recordIdentityAnswer(at, { ...no, position: 8 })), []);
  assert.equal(given(roles, ...refused).when(recordIdentityAnswer(at, { ...no, key: 'vaults/v/keys/l' })).length, 1);
  const returned = given(roles, ...refused).when(recordIdentityAnswer(at, yes));
  const state = fold([roles, ...refused, ...returned]);
  assert.ok(exists(state));
  assert.deepEqual([state.refusedAnswers, identityKnownTo(state)], [[], 9]);
  assert.deepEqual(given(roles, deleted).when(recordIdentityAnswer(at, no)), []);
});

test('G7: a decision of identity that is older than a known change is not recorded', () => {
  const no = { principal: 'principals/a', key: 'vaults/v/keys/k', removed: true, position: 5 };
  const change = { source: 'roleAssignments/1', position: 6, principal: 'principals/a', removed: false };
  const roles: VaultEvent = { ...created, permissionModel: 'role_assignment' };
  const assigned = given(roles).when(recordGrantChange(at, change));
  assert.deepEqual(given(roles, ...assigned).when(recordIdentityAnswer(at, no)), []);
  // Also if the change came while the vault was deleted, and the vault is recovered.
  const whileDeleted = given(roles, deleted).when(recordGrantChange(at, change));
  assert.deepEqual(whileDeleted, [{ type: 'GrantsChanged', ...change, at }]);
  const recovered = [...whileDeleted, { type: 'VaultRecovered', at }] as const;
  assert.deepEqual(given(roles, deleted, ...recovered).when(recordIdentityAnswer(at, no)), []);
  // Under access policies roles do not count, but a deleted principal does.
  assert.deepEqual(given(created).when(recordIdentityAnswer(at, no)), []);
  assert.equal(given(created).when(recordIdentityAnswer(at, no, true)).length, 1);
});

const instant = fc.integer({ min: at, max: at + 100 * dayMs });
const principal = fc.constantFrom('principals/a', 'principals/b');
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.tuple(instant, fc.boolean()).map(([t, purgeProtected]) => create(t, { ...request, purgeProtected })),
  instant.map((t) => enablePurgeProtection(t)),
  fc.tuple(instant, principal).map(([t, p]) => setAccessPolicy(t, p, ['get', 'wrapKey'])),
  fc.tuple(instant, principal).map(([t, p]) => removeAccessPolicy(t, p)),
  fc
    .tuple(instant, fc.constantFrom('access_policy' as const, 'role_assignment' as const))
    .map(([t, model]) => setPermissionModel(t, model, true)),
  fc
    .tuple(instant, fc.nat(5), principal, fc.boolean())
    .map(([t, position, p, removed]) => recordGrantChange(t, { source: p, position, principal: p, removed })),
  fc
    .tuple(instant, fc.nat(5), principal, fc.boolean())
    .map(([t, position, p, removed]) => recordIdentityAnswer(t, { principal: p, key: 'k', removed, position })),
  instant.map((t) => remove(t, dayMs)),
  instant.map((t) => recover(t)),
  instant.map((t) => startPurge(t)),
  instant.map((t) => finishPurge(t)),
);
const attempt = (decide: Command, vault: Vault): readonly VaultEvent[] => {
  try {
    return decide(vault);
  } catch (error) {
    if (error instanceof Rejection) return [];
    throw error;
  }
};
const history = fc.array(command, { maxLength: 20 }).map((commands) => {
  const past: VaultEvent[] = [];
  for (const next of commands) past.push(...attempt(next, fold(past)));
  return past;
});

test('a repeated command decides nothing, after any history', () => {
  fc.assert(
    fc.property(history, command, (past, decide) => {
      const decided = attempt(decide, fold(past));
      assert.deepEqual(attempt(decide, fold([...past, ...decided])), []);
    }),
    { numRuns: 1_000 },
  );
});

test('evolve never throws, whatever the order of events', () => {
  fc.assert(
    fc.property(fc.array(history, { maxLength: 4 }), (pasts) => {
      assert.ok(fold(pasts.flat()).status);
    }),
  );
});
