import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { memoryStore } from '@interlock/event-store';
import { systemClock as clock } from '@interlock/runtime';
import { createKeyAccess } from './host/keys/key-access.ts';
import { leaseDefaults } from './host/keys/lease.ts';
import { SetFacts } from './host/keys/set-facts.ts';
import { openLossTable } from './host/keys/set-losses.ts';
import { openOptionTable, SetOptions } from './host/keys/set-options.ts';
import { reactions } from './reactor.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one';
const keyVersion = 'vaults/v/keys/k/versions/1';
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };

/** The fact handlers of the service, over a store in memory. */
const world = () => {
  const store = memoryStore({ clock });
  const tables = { losses: openLossTable(store), options: openOptionTable(store) };
  const openFacts = () => {
    const keyAccess = createKeyAccess(clock, leaseDefaults);
    const options = new SetOptions();
    const leases = { isUsed: () => false };
    return { keyAccess, options, facts: new SetFacts({ keyAccess, leases, options, tables, clock }) };
  };
  const { keyAccess, options, facts } = openFacts();
  const handlers = reactions({ ...tables, apply: facts.apply, clock });
  let version = 0;
  return {
    keyAccess,
    options,
    async tell(type: string, event: Exclude<DiskEncryptionSetEvent['event'], undefined>): Promise<void> {
      const payload = Buffer.from(DiskEncryptionSetEvent.encode({ event }).finish());
      const handler = handlers[type];
      assert.ok(handler, `${type} is consumed`);
      version += 1;
      const fact = Fact.fromPartial({ type, payload, stream: `set-${set}`, version, position: version });
      const { rows = [] } = await handler(fact, { cause, signal: new AbortController().signal });
      if (rows.length > 0) await store.commit({ rows }, cause);
    },
    /** What a restarted service recalls. */
    async restarted() {
      const later = openFacts();
      await later.facts.recall(() => true);
      return Object.assign(later.keyAccess, { options: later.options });
    },
  };
};

test('CMK-39: a set recreated under the name of a deleted one can use its key, though the loss was final', async () => {
  const { keyAccess, tell, restarted } = world();
  // The identity of the set was deleted. No epoch follows, so only the deletion of the set ends this loss.
  const lost = { set, keyVersion, accessEpoch: Number.MAX_SAFE_INTEGER, since: new Date(1), partial: false };
  await tell('KeyAccessLost', { $case: 'keyAccessLost', value: { ...lost, reason: 'IDENTITY_DELETED' } });
  assert.equal(keyAccess.lossOf({ set, keyVersion })?.reason, 'IDENTITY_DELETED');
  assert.equal((await restarted()).lossOf({ set, keyVersion })?.reason, 'IDENTITY_DELETED');

  await tell('SetDeleted', { $case: 'setDeleted', value: { set } });
  assert.equal(keyAccess.lossOf({ set, keyVersion }), undefined);
  assert.equal((await restarted()).lossOf({ set, keyVersion }), undefined);
});

test('G10: a published loss keeps the trace of its cause, also after a restart', async () => {
  const { keyAccess, tell, restarted } = world();
  const traceId = 'a'.repeat(32);
  const lost = { set, keyVersion, accessEpoch: 7, since: new Date(1), partial: false, traceId };
  await tell('KeyAccessLost', { $case: 'keyAccessLost', value: { ...lost, reason: 'KEY_PURGED' } });
  assert.equal(keyAccess.lossOf({ set, keyVersion })?.traceId, traceId);
  assert.equal((await restarted()).lossOf({ set, keyVersion })?.traceId, traceId);
});

test('CMK-104: the key expiry policy of a set survives a restart, and ends when the set is deleted', async () => {
  const { options, tell, restarted } = world();
  const change = (keyExpiry: 'STOP' | 'NEXT_START') =>
    tell('SetOptionsChanged', {
      $case: 'setOptionsChanged',
      value: { set, keyExpiry, autoRestart: false },
    });
  assert.equal(options.outlivesExpiry(set), false);
  await change('NEXT_START');
  await change('NEXT_START');
  assert.ok(options.outlivesExpiry(set) && (await restarted()).options.outlivesExpiry(set));
  await change('STOP');
  assert.ok(!options.outlivesExpiry(set) && !(await restarted()).options.outlivesExpiry(set));
  await change('NEXT_START');
  await tell('SetDeleted', { $case: 'setDeleted', value: { set } });
  assert.ok(!options.outlivesExpiry(set) && !(await restarted()).options.outlivesExpiry(set));
});

test('G3: after a restart, a host does not apply a loss that ended before the disk was opened', async () => {
  const { tell, restarted } = world();
  const lost = { set, keyVersion, accessEpoch: 7, since: new Date(1), partial: false, reason: 'KEY_DISABLED' } as const;
  await tell('KeyAccessLost', { $case: 'keyAccessLost', value: lost });
  // Access was restored at 9 and disks were opened. The set got no response, so it has not published that.
  const keyAccess = await restarted();
  const key = { set, keyVersion };
  assert.equal(keyAccess.lossAfter(key, { accessEpoch: 9 }), undefined);
  assert.equal(keyAccess.lossAfter(key, { accessEpoch: 6 })?.reason, 'KEY_DISABLED');
  keyAccess.lost(
    key,
    { reason: 'KEY_DELETED', accessEpoch: 9, since: 2, traceId: '' },
    { ...keyAccess.nextCall(), principal: 'principals/one' },
  );
  assert.equal(
    keyAccess.lossAfter(key, { accessEpoch: 9 })?.reason,
    'KEY_DELETED',
    'a refusal of the vault is current',
  );
});
