import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { category, memoryStore } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import { reactor } from './reactor.ts';
import { assign, roleAssignments } from './role-assignment/decider.ts';

test('KV-66, CMK-133: the deletion of a vault removes the roles on it and on its keys, and no others', async () => {
  const assignments = category(memoryStore({ clock: systemClock }), roleAssignments);
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const group = 'subscriptions/s/resourceGroups/g';
  const scopes = {
    vault: `${group}/vaults/kv1`,
    key: `${group}/vaults/kv1/keys/k`,
    other: `${group}/vaults/kv11`,
    group,
  };
  for (const [id, scope] of Object.entries(scopes)) {
    await assignments.transact(
      id,
      assign(0, { principal: 'principals/p', role: 'roles/keyVaultCryptoUser', scope }),
      cause,
    );
  }
  const deleted = { vault: 'vaults/kv1', accessEpoch: 7, scheduledPurgeTime: undefined };
  const payload = KeyVaultEvent.encode({
    event: { $case: 'vaultDeleted', value: deleted },
    changeTime: undefined,
  }).finish();
  const fact = Fact.fromPartial({ type: 'VaultDeleted', payload });
  const handle = reactor({ clock: systemClock, assignments }).VaultDeleted;
  await handle?.(fact, { cause, signal: new AbortController().signal });
  const left = await assignments.list({ index: { index: 'principal', value: 'principals/p' }, limit: 9 });
  assert.deepEqual(
    left.items.map(({ id }) => id),
    ['group', 'other'],
  );
});

test('KV-66, G3: a role assigned after the vault was deleted stays, however late the deletion is consumed', async () => {
  const assignments = category(memoryStore({ clock: systemClock }), roleAssignments);
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const scope = 'subscriptions/s/resourceGroups/g/vaults/kv1';
  const given = { before: 5, with: 7, after: 8 };
  for (const [id, at] of Object.entries(given)) {
    const grant = { principal: `principals/${id}`, role: 'roles/keyVaultCryptoUser', scope };
    await assignments.transact(id, assign(at, grant), cause);
  }
  const deleted = { vault: 'vaults/kv1', accessEpoch: 7, scheduledPurgeTime: undefined };
  const payload = KeyVaultEvent.encode({
    event: { $case: 'vaultDeleted', value: deleted },
    changeTime: undefined,
  }).finish();
  const fact = Fact.fromPartial({ type: 'VaultDeleted', payload, eventTime: new Date(7) });
  const handle = reactor({ clock: systemClock, assignments }).VaultDeleted;
  await handle?.(fact, { cause, signal: new AbortController().signal });
  const left = await assignments.list({ index: { index: 'scope', value: scope }, limit: 9 });
  assert.deepEqual(
    left.items.map(({ id }) => id),
    ['after'],
  );
});
