import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Clock } from '@interlock/runtime';
import { Metadata } from 'nice-grpc';
import { accessTokenKey } from '../host/data/access-token.ts';
import { startLeaseHost } from '../host/keys/test-lease-host.ts';
import { setName } from '../host/test-disk-host.ts';

const count = 100;

/** Closed disks, and one that a guest reads, before their rewrap to another key. */
const prepare = async () => {
  let slow: Clock | undefined;
  let writes = 0;
  /** How many disks were stored as moved in each turn of the event loop that stored any: those share a transaction. */
  const movesPerTurn: number[] = [];
  let isTurnOpen = false;
  const place = await startLeaseHost(
    {},
    {
      // Headers reach stable storage at different times.
      async beforeWrite() {
        writes += 1;
        await slow?.sleep(writes % 5);
      },
      onCommit({ appends = [] }) {
        if (!appends.some(({ events }) => events.some(({ type }) => type === 'DekRewrapped'))) return;
        if (!isTurnOpen) movesPerTurn.push(0);
        isTurnOpen = true;
        movesPerTurn.push((movesPerTurn.pop() ?? 0) + 1);
        setImmediate(() => {
          isTurnOpen = false;
        });
      },
    },
  );
  const { host, run } = place;
  const parent = setName.slice(0, setName.lastIndexOf('/diskEncryptionSets/'));
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  const names: string[] = [];
  for (let n = 0; n < count; n++) {
    const request = { parent, diskId: `d${n}`, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption } as const;
    names.push((await run(host.disks.createDisk(request))).name);
  }
  const guest = await place.open('busy');
  // Responses take time, as over a network.
  host.setDelay(10);
  slow = place.clock;
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await run(host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal }));
  return {
    ...place,
    guest,
    movesPerTurn,
    begin: (deadlineMs = 60_000) =>
      host.asSets.rewrapDeks({ names, generation, targetKeyVersion: keyVersion }, { deadlineMs }),
  };
};
type Moves = Awaited<ReturnType<Awaited<ReturnType<typeof prepare>>['begin']>>;
const assertMoved = ({ outcomes }: Moves): void =>
  assert.deepEqual(new Set(outcomes.map(({ outcome }) => outcome?.$case)), new Set(['moved']));

test('CMK-80: without guests, disks that are rewrapped together share one call to the vault', async () => {
  const { host, begin, run, pass, stop } = await prepare();
  await pass(2_000);
  assertMoved(await run(begin()));
  assert.deepEqual(host.rewrapCalls, [count]);
  await stop();
});

test('disks that are rewrapped together are stored together, however long the header of each takes', async () => {
  const { movesPerTurn, begin, run, pass, stop } = await prepare();
  await pass(2_000);
  assertMoved(await run(begin()));
  assert.deepEqual(movesPerTurn, [count]);
  await stop();
});

test('a refused read does not count as a guest: it does not slow down rewraps', async () => {
  const { host, guest, begin, run, pass, stop } = await prepare();
  await pass(2_000);
  const asked = async (): Promise<void> => {
    const data = host.clientWithoutRetries(DiskDataServiceDefinition);
    const metadata = new Metadata({ [accessTokenKey]: 'made up' });
    for await (const _ of data.read({ name: guest.name, offsetBytes: 0, lengthBytes: 4_096 }, { metadata }));
  };
  await run(assert.rejects(asked()));
  assertMoved(await run(begin()));
  assert.deepEqual(host.rewrapCalls, [count]);
  await stop();
});

test('G6: while a guest reads, disks are rewrapped in batches until all are done', async () => {
  const { host, guest, begin, run, pass, stop } = await prepare();
  assert.equal(await guest.read(), 'ok');
  const moves = begin();
  // Each batch takes longer than this, because the vault is slow.
  for (let reads = 0; reads < count; reads++) {
    await pass(1);
    assert.equal(await guest.read(), 'ok');
  }
  assertMoved(await run(moves));
  const [first = 0, ...others] = host.rewrapCalls;
  assert.equal(first, 32);
  assert.ok(others.length > 1 && others.every((size) => size < 64), `${host.rewrapCalls}`);
  await stop();
});

test('rewraps that wait until the deadline is near are refused with DISK_HOST_BUSY, and the call responds in time', async () => {
  const { host, guest, begin, run, stop } = await prepare();
  host.setDelay(400);
  assert.equal(await guest.read(), 'ok');
  const { outcomes } = await run(begin(1_300));
  const told = outcomes.map(({ outcome }) => (outcome?.$case === 'refused' ? outcome.value.reason : outcome?.$case));
  assert.deepEqual(told.toSorted(), [...Array(count - 32).fill('DISK_HOST_BUSY'), ...Array(32).fill('moved')]);
  assert.deepEqual(host.rewrapCalls, [32], 'only the first batch');
  assertMoved(await run(begin()));
  await stop();
});
