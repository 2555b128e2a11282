import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { StoreUnavailable } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import { noReply } from '../host/keys/test-vault.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

const content = randomBytes(8_192);
const under = (diskEncryptionSet: string) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet }) as const;
/** More calls than one rewrap makes. */
const callsMax = 40;

const hosts: DiskHost[] = [];
/** A test that fails does not stop its host, which would keep the file from ending. */
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.stop();
});

const hostWithDisk = async (options: Parameters<typeof startDiskHost>[0] = {}): Promise<DiskHost> => {
  const host = await startDiskHost(options);
  hosts.push(host);
  const parent = 'subscriptions/s/resourceGroups/g';
  await host.disks.createDisk({
    parent,
    diskId: 'd',
    location: 'l',
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: under(setName),
  });
  await host.fill(content);
  return host;
};
/** Begins another generation of the set. @returns the request to rewrap the disk to it */
const beginMove = async (host: DiskHost) => {
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  return { name: diskName, generation, targetKeyVersion: keyVersion };
};
/** Purges the key version that the disk was moved to. The service receives the refusal of the vault. */
const loseTarget = async (host: DiskHost, keyVersion: string): Promise<void> => {
  await host.rotate(setName);
  host.forgetKeysBefore(setName);
  const { principal } = host.keyOf(setName);
  await assert.rejects(host.asSets.checkKeyAccess({ diskEncryptionSet: setName, keyVersion, principal }), {
    reason: 'KEY_PURGED',
  });
};

test('CMK-89, CMK-112: after a fault at any call of a rewrap and a retry, no old wrap is left, and a loss of the new version stops the open disk', async () => {
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    const read = await host.reader();
    const target = await beginMove(host);
    host.faults.arm(failAt, 'once');
    await Promise.allSettled([rewrapDek(host.asSets, target)]);
    host.faults.disarm();
    assert.deepEqual(await read(content.length), content, `I/O went on, fault at call ${failAt}`);
    await rewrapDek(host.asSets, target);
    assert.deepEqual(await host.wrapsAtRest(diskName), [target.targetKeyVersion], `fault at call ${failAt}`);
    assert.deepEqual(await read(content.length), content, `I/O continues, fault at call ${failAt}`);
    await loseTarget(host, target.targetKeyVersion);
    await assert.rejects(read(content.length), { reason: 'KEY_PURGED' }, `fault at call ${failAt}`);
    await host.stop();
  }
});

test('CMK-88: after a crash at any call of a rewrap and a retry, no old wrap of an open disk is left', async () => {
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    const read = await host.reader();
    const target = await beginMove(host);
    host.faults.arm(failAt, 'crash');
    await Promise.allSettled([rewrapDek(host.asSets, target)]);
    host.faults.disarm();
    await host.restart();
    const left = { diskEncryptionSet: setName, belowGeneration: target.generation };
    const { resources } = await host.asSets.listEncryptedResources(left);
    if (resources.length > 0) await rewrapDek(host.asSets, target);
    assert.deepEqual(await host.wrapsAtRest(diskName), [target.targetKeyVersion], `crash at call ${failAt}`);
    assert.deepEqual(await read(content.length), content);
    await host.stop();
  }
});

test('CMK-112: an open disk uses the key version of its header if the response to the commit of its move is lost', async () => {
  let isSilent = false;
  const host = await hostWithDisk({
    onCommit({ appends = [] }) {
      const isMove = appends.some(({ events }) => events.some(({ type }) => type === 'DekRewrapped'));
      if (isSilent && isMove) throw new StoreUnavailable('no answer');
    },
  });
  const read = await host.reader();
  const target = await beginMove(host);
  isSilent = true;
  await assert.rejects(rewrapDek(host.asSets, target), { reason: 'STORE_UNAVAILABLE' });
  isSilent = false;
  assert.deepEqual(await read(content.length), content);
  await loseTarget(host, target.targetKeyVersion);
  await assert.rejects(read(content.length), { reason: 'KEY_PURGED' });
  await host.stop();
});

test('CMK-112, G6: a disk that is open when its host restarts uses the key version of its header', async () => {
  let isSilent = false;
  const host = await hostWithDisk({
    leases: { ioPauseTimeoutMs: 2_000 },
    onCommit({ appends = [] }) {
      const isMove = appends.some(({ events }) => events.some(({ type }) => type === 'DekRewrapped'));
      if (isSilent && isMove) throw new StoreUnavailable('no answer');
    },
  });
  const read = await host.reader();
  const target = await beginMove(host);
  isSilent = true;
  await assert.rejects(rewrapDek(host.asSets, target), { reason: 'STORE_UNAVAILABLE' });
  // The set does not retry the move, and the vault has no earlier version.
  await host.restart();
  host.forgetKeysBefore(setName);
  assert.deepEqual(await read(content.length), content);
  await loseTarget(host, target.targetKeyVersion);
  await assert.rejects(read(content.length), { reason: 'KEY_PURGED' });
  await host.stop();
});

test('CMK-112: a DEK fetched while its disk is rewrapped counts as under the new version', async () => {
  const host = await hostWithDisk();
  const read = await host.reader();
  await host.restart();
  const target = await beginMove(host);
  const hold = host.holdUnwrap();
  const reading = read(content.length);
  await hold.reached;
  await rewrapDek(host.asSets, target);
  hold.release();
  assert.deepEqual(await reading, content);
  await loseTarget(host, target.targetKeyVersion);
  await assert.rejects(read(content.length), { reason: 'KEY_PURGED' });
  await host.stop();
});

/** Calls `ask`. Before the vault decides, the disk moves to another key version and the earlier one is purged. */
const moveBeforeAnswer = async <Result>(host: DiskHost, ask: () => Promise<Result>): Promise<Result> => {
  const target = await beginMove(host);
  const before = host.unwrapCalls();
  host.setDelay(2_000);
  const asked = ask();
  asked.catch(() => undefined);
  while (host.unwrapCalls() === before) await pause(1);
  host.setDelay(0);
  await rewrapDek(host.asSets, target);
  host.forgetKeysBefore(setName);
  return asked;
};
const isHeld = async (host: DiskHost): Promise<boolean> =>
  (await host.disks.listLeases({ diskEncryptionSet: setName })).leases.some(({ state }) => state === 'HELD');

test('CMK-89, G6: a read continues under the next version if its disk moves while the vault unwraps its DEK', async () => {
  const host = await hostWithDisk();
  const read = await host.reader();
  await host.restart();
  while (!(await isHeld(host))) await pause(1);
  assert.deepEqual(await moveBeforeAnswer(host, () => read(content.length)), content);
  await host.stop();
});

test('CMK-89: an open that is refused for a key version that the disk has left continues under the next version', async () => {
  const host = await hostWithDisk();
  const read = await moveBeforeAnswer(host, () => host.reader());
  assert.deepEqual(await read(content.length), content);
  await host.stop();
});

test('CMK-88: a failed change of encryption after a failed rewrap leaves the set unchanged, and a later change succeeds', async () => {
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    const target = await beginMove(host);
    host.faults.arm(failAt, 'once');
    await Promise.allSettled([rewrapDek(host.asSets, target)]);
    host.faults.disarm();
    const missing = under('subscriptions/s/resourceGroups/g/diskEncryptionSets/none');
    await assert.rejects(host.disks.changeDiskEncryption({ name: diskName, encryption: missing }), {
      reason: 'DISK_ENCRYPTION_SET_NOT_FOUND',
    });
    const state = await host.stateOf(diskName);
    assert.ok(state.status === 'active' && state.encryption.type !== 'platform' && state.encryption.set === setName);
    await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
    assert.equal((await host.disks.getDisk({ name: diskName })).keyVersion, host.keyOf(otherSetName).keyVersion);
    assert.deepEqual(await host.content(content.length), content);
    await host.stop();
  }
});

test('CMK-88: after a failed rewrap, a grow and a retry of the rewrap, the disk has the new version and size', async () => {
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    const target = await beginMove(host);
    host.faults.arm(failAt, 'once');
    await Promise.allSettled([rewrapDek(host.asSets, target)]);
    host.faults.disarm();
    await host.disks.growDisk({ name: diskName, sizeGib: 2 });
    await rewrapDek(host.asSets, target);
    const { keyVersion, sizeGib } = await host.disks.getDisk({ name: diskName });
    assert.deepEqual({ keyVersion, sizeGib }, { keyVersion: target.targetKeyVersion, sizeGib: 2 });
    host.forgetKeysBefore(setName);
    assert.deepEqual(await host.content(content.length), content);
    await host.stop();
  }
});

test('VM-27: a rewrap after a failed grow stores the size of the header, and a retry of the grow succeeds', async (t) => {
  let ahead = 0;
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    t.after(() => host.stop());
    host.faults.arm(failAt, 'once');
    const [growth] = await Promise.allSettled([host.disks.growDisk({ name: diskName, sizeGib: 2 })]);
    host.faults.disarm();
    await rewrapDek(host.asSets, await beginMove(host));
    if (growth?.status === 'rejected' && (await host.disks.getDisk({ name: diskName })).sizeGib === 2) ahead += 1;
    await host.disks.growDisk({ name: diskName, sizeGib: 2 });
    assert.equal((await host.disks.getDisk({ name: diskName })).sizeGib, 2, `fault at call ${failAt}`);
    assert.deepEqual(await host.content(content.length), content);
  }
  assert.ok(ahead > 0);
});

test('CMK-112, G6: a grow after a failed rewrap puts the open disk under the version of its header, without a pause', async () => {
  let followed = 0;
  for (let failAt = 1; failAt < callsMax; failAt++) {
    const host = await hostWithDisk();
    const read = await host.reader();
    const target = await beginMove(host);
    host.faults.arm(failAt, 'once');
    await Promise.allSettled([rewrapDek(host.asSets, target)]);
    host.faults.disarm();
    // The vault cannot be reached about the new version: open disks continue until the granted lease ends.
    host.setVault(noReply);
    await host.disks.growDisk({ name: diskName, sizeGib: 2 });
    assert.deepEqual(await read(content.length), content, `I/O continues, fault at call ${failAt}`);
    host.setVault('well');
    const { keyVersion } = await host.disks.getDisk({ name: diskName });
    if (keyVersion === target.targetKeyVersion) {
      followed += 1;
      await loseTarget(host, target.targetKeyVersion);
      await assert.rejects(read(content.length), { reason: 'KEY_PURGED' }, `fault at call ${failAt}`);
    }
    await host.stop();
  }
  assert.ok(followed > 0);
});

test('CMK-82: a DEK that is fetched while its disk gets a new generation of the same version is not fetched again', async () => {
  const host = await hostWithDisk();
  const read = await host.reader();
  await host.restart();
  const { generation, keyVersion, principal } = host.keyOf(setName);
  const next = { diskEncryptionSet: setName, generation: generation + 1, keyVersion, principal };
  await host.asSets.beginGeneration(next);
  const hold = host.holdUnwrap();
  const reading = read(content.length);
  await hold.reached;
  await rewrapDek(host.asSets, { name: diskName, targetKeyVersion: keyVersion, generation: generation + 1 });
  const asked = host.unwraps();
  hold.release();
  assert.deepEqual(await reading, content);
  assert.equal(host.unwraps(), asked);
  await host.stop();
});

test('CMK-112, CMK-89: a repeated rewrap that the next one overtakes leaves the disk under the newest version', async () => {
  const opened = { left: Number.POSITIVE_INFINITY, reach: () => {}, mayGoOn: Promise.resolve() };
  const host = await hostWithDisk({
    // Virtual time: no wait for other members times out.
    clock: virtualClock(),
    async beforeOpen(part) {
      if (part !== 'header') return;
      opened.left -= 1;
      if (opened.left !== 0) return;
      opened.reach();
      await opened.mayGoOn;
    },
  });
  const other = `${diskName}2`;
  const spec = { parent: 'subscriptions/s/resourceGroups/g', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 } as const;
  await host.disks.createDisk({ ...spec, diskId: 'd2', encryption: under(setName) });
  const read = await host.reader();
  const { name: _name, ...first } = await beginMove(host);
  await rewrapDek(host.asSets, { ...first, name: diskName });

  // A repeat, together with a disk whose header opens slowly. The two proceed in barrier.
  const [reached, mayGoOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  Object.assign(opened, { left: 2, reach: reached.resolve, mayGoOn: mayGoOn.promise });
  const again = host.asSets.rewrapDeks({ ...first, names: [diskName, other] });
  await reached.promise;
  const next = await beginMove(host);
  await rewrapDek(host.asSets, next);
  mayGoOn.resolve();
  await again;

  host.forgetKeysBefore(setName);
  assert.deepEqual(await read(content.length), content);
  await loseTarget(host, next.targetKeyVersion);
  await assert.rejects(read(content.length), { reason: 'KEY_PURGED' });
  await host.stop();
});

test('CMK-108, CMK-110: if a generation of the same version begins during a snapshot, it keeps its wrap after one check', async (t) => {
  let onHeader: (() => Promise<unknown>) | undefined;
  const host = await hostWithDisk({
    async beforeWrite(part) {
      const once = part === 'header' ? onHeader : undefined;
      if (once) onHeader = undefined;
      await once?.();
    },
  });
  t.after(() => host.stop());
  const { generation, keyVersion, principal } = host.keyOf(setName);
  const next = {
    diskEncryptionSet: setName,
    generation: generation + 1,
    keyVersion,
    principal,
  };
  onHeader = () => host.asSets.beginGeneration(next);
  const asked = host.checks.length;
  const { name } = await host.disks.createSnapshot({
    parent: 'subscriptions/s/resourceGroups/g',
    snapshotId: 's',
    sourceDisk: diskName,
  });
  const state = await host.snapshotStateOf(name);
  assert.ok(state.status === 'active');
  assert.deepEqual([state.keyVersion, state.generation], [keyVersion, generation + 1]);
  assert.deepEqual(host.rewrapCalls, []);
  const probes = host.checks.slice(asked).filter((one) => one.resource === name && one.wrappedProbe.length > 0);
  assert.equal(probes.length, 1);
});
