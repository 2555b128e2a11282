import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { memoryStore } from '@interlock/event-store';
import { systemClock as clock } from '@interlock/runtime';
import { reactions } from '../../reactor.ts';
import { createKeyAccess } from './key-access.ts';
import { leaseDefaults } from './lease.ts';
import { SetFacts } from './set-facts.ts';
import { openLossTable } from './set-losses.ts';
import { openOptionTable, SetOptions } from './set-options.ts';

const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one';
const keyVersion = 'vaults/v/keys/k/versions/1';
const key = { set, keyVersion };
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
type SetEvent = Exclude<DiskEncryptionSetEvent['event'], undefined>;

const lost = (accessEpoch: number): SetEvent => ({
  $case: 'keyAccessLost',
  value: { ...key, accessEpoch, since: new Date(accessEpoch), partial: false, reason: 'KEY_DISABLED', traceId: '' },
});
const restored = (accessEpoch: number): SetEvent => ({ $case: 'keyAccessRestored', value: { ...key, accessEpoch } });
const option = (keyExpiry: 'STOP' | 'NEXT_START'): SetEvent => ({
  $case: 'setOptionsChanged',
  value: { set, keyExpiry, autoRestart: false },
});
const types: Record<string, string> = {
  keyAccessLost: 'KeyAccessLost',
  keyAccessRestored: 'KeyAccessRestored',
  setDeleted: 'SetDeleted',
  setOptionsChanged: 'SetOptionsChanged',
};

/** A host that receives messages, and a control process that stores facts on its own. Facts have the versions 1, 2, … */
const world = (events: readonly SetEvent[]) => {
  const store = memoryStore({ clock });
  const tables = { losses: openLossTable(store), options: openOptionTable(store) };
  const keyAccess = createKeyAccess(clock, leaseDefaults);
  const options = new SetOptions();
  const facts = new SetFacts({ keyAccess, leases: { isUsed: () => false }, options, tables, clock });
  const handlers = reactions({ ...tables, apply: () => undefined, clock });
  const published = events.map((event, index) =>
    Fact.fromPartial({
      ...{ type: types[event.$case] ?? '', stream: `set-${set}`, version: index + 1, position: 10 * (index + 1) },
      payload: Buffer.from(DiskEncryptionSetEvent.encode({ event }).finish()),
    }),
  );
  let stored = 0;
  const factOf = (version: number): Fact => published[version - 1] ?? assert.fail(`no fact ${version}`);
  return {
    keyAccess,
    options,
    /** Messages of facts, by version, as they arrive. */
    receive: (...versions: readonly number[]) => {
      for (const version of versions) facts.apply(factOf(version), cause);
    },
    /** The control process stores every fact up to a version. */
    async store(upTo: number) {
      while (stored < upTo) {
        stored += 1;
        const fact = factOf(stored);
        const { rows = [] } =
          (await handlers[fact.type]?.(fact, { cause, signal: new AbortController().signal })) ?? {};
        if (rows.length > 0) await store.commit({ rows }, cause);
      }
    },
    /** @param upTo what the cursor said before the rows were read; by default all that is stored */
    recall: (upTo = stored) => facts.recall(({ position }) => position <= 10 * upTo),
    reason: () => keyAccess.lossOf(key)?.reason,
  };
};

test('G1: a host applies a loss whose message it missed, from the store', async () => {
  const { store, recall, reason } = world([lost(5)]);
  await store(1);
  await recall();
  assert.equal(reason(), 'KEY_DISABLED');
});

test('G3: a host ends a loss whose end it missed, and keeps one that the store does not have yet', async () => {
  const { receive, store, recall, reason } = world([lost(5), restored(6), lost(7)]);
  receive(1);
  await recall();
  assert.equal(reason(), 'KEY_DISABLED', 'the message is ahead of the store');
  await store(2);
  await recall();
  assert.equal(reason(), undefined);
  receive(3);
  await recall();
  assert.equal(reason(), 'KEY_DISABLED', 'the message is ahead of the store');
});

test('G7: a host that missed the end of a loss also ends what the vault refused it for that loss', async () => {
  // The vault refuses at the epoch of the newest change of the key, which need not be the loss.
  for (const epoch of [5, 7]) {
    const { keyAccess, receive, store, recall, reason } = world([lost(5), restored(8)]);
    receive(1);
    const before = { sent: keyAccess.nextCall(), principal: 'principals/p', accessEpoch: 8 };
    const refused = { ...keyAccess.nextCall(), principal: 'principals/p' };
    keyAccess.lost(key, { reason: 'KEY_DISABLED', accessEpoch: epoch, since: 1, traceId: '' }, refused);
    await store(2);
    await recall();
    assert.equal(reason(), undefined, `a refusal at ${epoch}`);
    keyAccess.granted(key, before, 'unwrapped');
    assert.equal(keyAccess.lease(key).isHeld(), false, 'a grant that was called for before the refusal does not count');
  }
});

test('G7: a recall says that it left out a set with a newer message, whose loss the host missed', async () => {
  const { receive, store, recall, reason } = world([lost(5), option('STOP')]);
  await store(1);
  receive(2);
  assert.equal(await recall(), false, 'the message is ahead of the store');
  assert.equal(reason(), undefined);
  await store(2);
  assert.equal(await recall(), true);
  assert.equal(reason(), 'KEY_DISABLED');
});

test('G3: a message that arrives late or again changes nothing after a newer one', () => {
  const { receive, reason } = world([lost(5), restored(6), lost(7), restored(8)]);
  receive(1, 2, 1);
  assert.equal(reason(), undefined, 'an older loss ends nothing');
  receive(3, 2);
  assert.equal(reason(), 'KEY_DISABLED', 'an older end does not end a newer loss');
  receive(4, 3, 1);
  assert.equal(reason(), undefined);
});

test('G1: a message that is older than the row does not end the loss in it', async () => {
  const { receive, store, recall, reason } = world([lost(5), restored(6), lost(7)]);
  await store(3);
  // The row was stored between the reads of the cursor and of the rows.
  await recall(1);
  assert.equal(reason(), 'KEY_DISABLED');
  receive(2);
  assert.equal(reason(), 'KEY_DISABLED');
});

test('G3: a recall of a loss that is in memory does not repeat it', async () => {
  const { keyAccess, receive, store, recall } = world([lost(5)]);
  receive(1);
  await store(1);
  const losses: string[] = [];
  keyAccess.listen({ lost: ({ set: of }) => losses.push(of) });
  await recall();
  await recall();
  assert.deepEqual(losses, []);
});

test('CMK-104: options follow the newest of messages and rows, and end with their set', async () => {
  const deleted: SetEvent = { $case: 'setDeleted', value: { set } };
  const { options, receive, store, recall } = world([
    option('NEXT_START'),
    option('STOP'),
    option('NEXT_START'),
    deleted,
  ]);
  await store(1);
  await recall();
  assert.ok(options.outlivesExpiry(set));
  receive(2);
  await recall();
  assert.ok(!options.outlivesExpiry(set), 'the message is ahead of the store');
  await store(3);
  await recall();
  assert.ok(options.outlivesExpiry(set));
  await store(4);
  await recall();
  assert.ok(!options.outlivesExpiry(set), 'the row went with its set');
});
