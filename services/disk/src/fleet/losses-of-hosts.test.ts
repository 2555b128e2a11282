import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import { refusal } from '../host/keys/test-vault.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { openDisk } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const virtualMachine = `${parent}/virtualMachines/vm`;
const encryption: Encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName };
const disk = { parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption } as const;

/** Two hosts on one store; the first has a disk and an open of a machine. */
const startTwoHosts = async (t: TestContext) => {
  const owner = await startDiskHost();
  t.after(() => owner.stop());
  await owner.disks.createDisk(disk);
  await owner.fill(randomBytes(4_096));
  await owner.disks.attachDisk({ name: diskName, virtualMachine, requestId: 'r' });
  await openDisk(owner.disks, { name: diskName, virtualMachine });
  const other = await startDiskHost({ beside: owner, name: 'disk-1' });
  t.after(() => other.stop());
  return { owner, other };
};

const availabilityAt = async ({ disks }: DiskHost): Promise<string> => {
  const { availability, unavailableReason } = await disks.getDisk({ name: diskName });
  return availability === 'AVAILABLE' ? availability : `${availability} ${unavailableReason}`;
};

/** Waits until every host shows the disk like this. */
const until = async (expected: string, ...hosts: readonly DiskHost[]): Promise<void> => {
  for (const host of hosts) for (; (await availabilityAt(host)) !== expected; ) await sleep(5);
};

/** A machine that is refused an open. */
const tryToOpen = ({ disks }: DiskHost): Promise<string> =>
  openDisk(disks, { name: diskName, virtualMachine }).then(
    () => 'opened',
    ({ reason }) => reason,
  );

test('G1: a host whose facts another host consumes ends the use of a lost key', async (t) => {
  const { owner, other } = await startTwoHosts(t);
  const { keyVersion } = owner.keyOf(setName);
  const loss = { set: setName, keyVersion, accessEpoch: 1_000, since: new Date(1), partial: false, traceId: '' };
  await other.publish('KeyAccessLost', { $case: 'keyAccessLost', value: { ...loss, reason: 'KEY_DISABLED' } });
  assert.equal(await availabilityAt(owner), 'AVAILABLE');
  await owner.recallFacts();
  await until('UNAVAILABLE KEY_DISABLED', owner, other);
  await other.publish('KeyAccessRestored', {
    $case: 'keyAccessRestored',
    value: { set: setName, keyVersion, accessEpoch: 1_001 },
  });
  await owner.recallFacts();
  await until('AVAILABLE', owner, other);
});

test('G10: every host says why a disk of another host is unavailable, as that host found it', {
  timeout: 60_000,
}, async (t) => {
  const { owner, other } = await startTwoHosts(t);
  assert.equal(await availabilityAt(other), 'AVAILABLE');
  owner.setVault(refusal('KEY_DISABLED'));
  assert.equal(await tryToOpen(owner), 'KEY_DISABLED');
  await until('UNAVAILABLE KEY_DISABLED', owner, other);
  const listed = { parent, diskEncryptionSet: setName, unavailableOnly: true };
  assert.deepEqual(
    (await other.disks.listDisks(listed)).disks.map(({ name }) => name),
    [diskName],
  );
  // Its host is unreachable: the row of the host says it.
  await owner.stop();
  assert.equal(await availabilityAt(other), 'UNAVAILABLE KEY_DISABLED');
  // The next process of the host calls the vault again, which grants.
  owner.setVault('well');
  await owner.restart();
  await until('AVAILABLE', owner, other);
  assert.deepEqual((await other.disks.listDisks(listed)).disks, []);
});

test('G3: what a host found ends with the grant of the vault, at every host', { timeout: 60_000 }, async (t) => {
  const { owner, other } = await startTwoHosts(t);
  owner.setVault(refusal('KEY_DISABLED', 5));
  assert.equal(await tryToOpen(owner), 'KEY_DISABLED');
  await until('UNAVAILABLE KEY_DISABLED', other);
  owner.setVault('well');
  owner.setEpoch(6);
  assert.equal(await tryToOpen(owner), 'opened');
  await until('AVAILABLE', owner, other);
});
