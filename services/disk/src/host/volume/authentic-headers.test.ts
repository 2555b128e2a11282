import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { rewrapDek } from '../../testing/test-one-disk.ts';
import { encodeDekPayload } from '../cipher/dek-payload.ts';
import { type DiskHeader, encodeSlot, readUnverifiedSlot, type SlotMac } from '../header/disk-header-format.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from '../test-disk-host.ts';
import type { HeaderOnStorage } from '../test-host-storage.ts';

const content = randomBytes(8_192);
const parent = 'subscriptions/s/resourceGroups/g';
const snapshotName = `${parent}/snapshots/s`;
const under = (diskEncryptionSet: string) =>
  ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet }) as const;

/** A host with a disk under a set, which holds `content` unless it is to be new. */
const hostWithDisk = async (
  context: TestContext,
  isNew = false,
  options: Parameters<typeof startDiskHost>[0] = {},
): Promise<DiskHost> => {
  const host = await startDiskHost({ partBytesMax: 2 ** 21, ...options });
  context.after(() => host.stop());
  await host.disks.createDisk({
    ...{ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 },
    encryption: under(setName),
  });
  if (!isNew) await host.fill(content);
  return host;
};
/** Gives the set another key version, and rewraps the named disk and snapshot. */
const rotate = async (host: DiskHost, ...names: readonly string[]): Promise<void> => {
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  for (const name of names) await rewrapDek(host.asSets, { name, generation, targetKeyVersion: keyVersion });
};
/** The header findings in the log, in order. */
const findings = ({ log }: DiskHost): readonly string[] =>
  log.flatMap((line) => {
    const { reason = '', isRestored } = JSON.parse(line);
    return String(reason).startsWith('HEADER_') ? [`${reason} ${isRestored ? 'restored' : 'refused'}`] : [];
  });
const saidBy = ([a, b]: HeaderOnStorage): DiskHeader => {
  const header = readUnverifiedSlot(a ?? new Uint8Array(4_096)) ?? readUnverifiedSlot(b ?? new Uint8Array(4_096));
  assert.ok(header);
  return header;
};
/** The MAC of an attacker with access to the storage only. */
const unkeyed: SlotMac = (bytes) => hash('sha256', bytes, 'buffer');
/** The header of a disk with another DEK, wrapped to the customer's key with its public half. */
const withPlantedDek = async (host: DiskHost, change: Partial<DiskHeader> = {}): Promise<DiskHeader> => {
  const header = saidBy(await host.headerOf(diskName));
  const { keyVersion } = header.wrap;
  const payload = encodeDekPayload(randomBytes(32), header);
  return { ...header, wrap: { ...header.wrap, wrapped: host.wrapPublicly(keyVersion, payload) }, ...change };
};
const volumeOf = async (host: DiskHost): Promise<string> => {
  const state = await host.stateOf(diskName);
  assert.ok(state.status === 'active');
  return state.volume.volumeId;
};
const until = async (condition: () => Promise<boolean>): Promise<void> => {
  while (!(await condition())) await pause(5);
};

test('CMK-13, G1: a DEK that an attacker with storage access plants in a new disk is refused and reported', async (context) => {
  const host = await hostWithDisk(context, true);
  const before = await host.headerOf(diskName);
  const planted: HeaderOnStorage = [encodeSlot(await withPlantedDek(host), unkeyed), undefined];
  await host.putHeader(diskName, planted);
  for (let tries = 0; tries < 2; tries += 1) {
    await assert.rejects(host.writer(), { code: 'DATA_LOSS', reason: 'HEADER_FORGED' });
  }
  await assert.rejects(rotate(host, diskName), { reason: 'HEADER_FORGED' });
  assert.deepEqual(findings(host), ['HEADER_FORGED refused'], 'reported once until the header changes');
  assert.deepEqual(await host.headerOf(diskName), planted, 'the evidence is kept');
  await host.putHeader(diskName, before);
  await host.fill(content);
  assert.deepEqual(await host.content(content.length), content);
});

test('CMK-13, G1: a DEK that an attacker with the master key plants under the stored sequence is not used', async (context) => {
  const host = await hostWithDisk(context);
  const mac = host.slotMac(await volumeOf(host));
  await host.putHeader(diskName, [encodeSlot(await withPlantedDek(host), mac), undefined]);
  assert.deepEqual(await host.content(content.length), content);
  assert.deepEqual(findings(host), ['HEADER_FORGED restored']);
});

/** A slot of format 1, which had a checksum and no MAC: any writer to the storage could make one. */
const slotOfFormat1 = (header: DiskHeader): Uint8Array => {
  const sector = Buffer.from(encodeSlot(header, unkeyed));
  sector.writeUInt32BE(1, 8);
  sector.fill(0, 4_096 - 64);
  hash('sha256', sector.subarray(0, 4_096 - 32), 'buffer').copy(sector, 4_096 - 32);
  return sector;
};

test('CMK-13, G1: a header in the unauthenticated format of older releases is never used, with the right DEK or a planted one', async (context) => {
  const host = await hostWithDisk(context);
  const genuine = saidBy(await host.headerOf(diskName));
  const planted = await withPlantedDek(host);
  const ahead = await withPlantedDek(host, { sequence: genuine.sequence + 1 });
  for (const [n, header] of [genuine, planted, ahead].entries()) {
    await host.putHeader(diskName, [slotOfFormat1(header), undefined]);
    assert.deepEqual(await host.content(content.length), content);
    assert.deepEqual(findings(host), Array(n + 1).fill('HEADER_CORRUPT restored'));
    assert.deepEqual(saidBy(await host.headerOf(diskName)).wrap, genuine.wrap, 'it is that of the store again');
  }
});

test('CMK-13, G1: a DEK that an attacker with the master key plants ahead of the store opens nothing, also after a rewrap', async (context) => {
  const host = await hostWithDisk(context);
  const mac = host.slotMac(await volumeOf(host));
  const { sequence } = saidBy(await host.headerOf(diskName));
  await host.putHeader(diskName, [encodeSlot(await withPlantedDek(host, { sequence: sequence + 1 }), mac), undefined]);
  await assert.rejects(host.content(1), { code: 'DATA_LOSS', reason: 'WRONG_DEK' });
  await rotate(host, diskName);
  await assert.rejects(host.content(1), { code: 'DATA_LOSS', reason: 'WRONG_DEK' });
});

test('CMK-13: a size, a sequence or another volume’s header written by an attacker with storage access is refused', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  const header = saidBy(before);
  const put = async (slot: Uint8Array): Promise<void> => {
    await host.putHeader(diskName, [slot, undefined]);
    await assert.rejects(host.content(1), { code: 'DATA_LOSS', reason: 'HEADER_FORGED' });
    await assert.rejects(host.disks.growDisk({ name: diskName, sizeGib: 2 }), { reason: 'HEADER_FORGED' });
  };
  await put(encodeSlot({ ...header, size: 2 ** 50 }, unkeyed));
  await put(encodeSlot({ ...header, sequence: header.sequence + 1, size: 2 ** 50 }, unkeyed));
  await put(encodeSlot(header, host.slotMac('another volume')));
  await host.putHeader(diskName, before);
  const state = await host.stateOf(diskName);
  assert.equal(state.status === 'active' && state.sizeGib, 1);
  assert.deepEqual(await host.content(content.length), content);
});

test('a forged header is restored from the store once an operator has erased it', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await host.putHeader(diskName, [encodeSlot(await withPlantedDek(host), unkeyed), undefined]);
  await assert.rejects(host.content(1), { reason: 'HEADER_FORGED' });
  await host.putHeader(diskName, [undefined, undefined]);
  assert.deepEqual(await host.content(content.length), content);
  assert.deepEqual(saidBy(await host.headerOf(diskName)), saidBy(before));
  assert.deepEqual(findings(host), ['HEADER_FORGED refused', 'HEADER_BEHIND restored']);
});

test('G5: a damaged header is restored from the store and reported', async (context) => {
  const host = await hostWithDisk(context);
  const noise: HeaderOnStorage = [new Uint8Array(randomBytes(4_096)), new Uint8Array(randomBytes(4_096))];
  await host.putHeader(diskName, noise);
  assert.deepEqual(await host.content(content.length), content);
  assert.deepEqual(findings(host), ['HEADER_CORRUPT restored']);
});

test('G1, G6: if the header from before a rotation is put back, only the new key version is used', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await rotate(host, diskName);
  const { keyVersion } = host.keyOf(setName);
  await host.putHeader(diskName, before);
  // The old version is still enabled, but nothing may depend on it.
  assert.deepEqual(await host.content(content.length), content);
  assert.deepEqual(await host.wrapsAtRest(diskName), [keyVersion]);
  assert.equal(host.checks.at(-1)?.keyVersion, keyVersion);
  assert.deepEqual(findings(host), ['HEADER_BEHIND restored']);
  // The content is also readable after the old version is gone.
  await host.putHeader(diskName, before);
  host.forgetKeysBefore(setName);
  assert.deepEqual(await host.content(content.length), content);
});

test('G1, G2: if the header from before a rotation is put back, a loss of the new key version still stops the disk', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await rotate(host, diskName);
  const { keyVersion } = host.keyOf(setName);
  const read = await host.reader();
  await host.putHeader(diskName, before);
  await host.restart();
  const loss = { set: setName, keyVersion, accessEpoch: 9, since: new Date(), partial: false } as const;
  await host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: { ...loss, reason: 'KEY_DISABLED' } });
  await assert.rejects(read(1), { reason: 'KEY_DISABLED' });
  await assert.rejects(host.content(1), { reason: 'KEY_DISABLED' });
  const { availability, unavailableReason } = await host.disks.getDisk({ name: diskName });
  assert.deepEqual([availability, unavailableReason], ['UNAVAILABLE', 'KEY_DISABLED']);
});

test('G6: a host that starts with volume headers from before a rotation restores them without an open', {
  timeout: 60_000,
}, async (context) => {
  const host = await hostWithDisk(context);
  await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  const names = [diskName, snapshotName];
  const before = await Promise.all(names.map((name) => host.headerOf(name)));
  await rotate(host, ...names);
  const { keyVersion } = host.keyOf(setName);
  for (const [n, name] of names.entries()) await host.putHeader(name, before[n] ?? [undefined, undefined]);
  await host.restart();
  for (const name of names) await until(async () => (await host.wrapsAtRest(name)).join() === keyVersion);
  assert.deepEqual(findings(host), ['HEADER_BEHIND restored', 'HEADER_BEHIND restored']);
});

test('G6, CMK-15: the next rewrap starts from the wrap in the store, not from an earlier header', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await rotate(host, diskName);
  await host.putHeader(diskName, before);
  host.forgetKeysBefore(setName);
  await rotate(host, diskName);
  assert.deepEqual(await host.wrapsAtRest(diskName), [host.keyOf(setName).keyVersion]);
  assert.deepEqual(await host.content(content.length), content);
});

test('VM-27: if the header from before a grow is put back, the disk keeps its grown size', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await host.disks.growDisk({ name: diskName, sizeGib: 2 });
  await host.putHeader(diskName, before);
  assert.deepEqual(await host.content(content.length), content);
  assert.equal(saidBy(await host.headerOf(diskName)).size, 2 * 2 ** 30);
  await host.disks.growDisk({ name: diskName, sizeGib: 3 });
  const state = await host.stateOf(diskName);
  assert.equal(state.status === 'active' && state.sizeGib, 3);
});

test('G1, CMK-53: if the header from before a change of encryption is put back, only the new set is used', async (context) => {
  const host = await hostWithDisk(context);
  const before = await host.headerOf(diskName);
  await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
  await host.putHeader(diskName, before);
  const { keyVersion } = host.keyOf(otherSetName);
  assert.deepEqual(await host.content(content.length), content);
  assert.deepEqual(await host.wrapsAtRest(diskName), [keyVersion]);
});

test('G1: an authentic header that names another set than the store is refused and kept, as the store may be older', async (context) => {
  const host = await hostWithDisk(context);
  const header = saidBy(await host.headerOf(diskName));
  const mac = host.slotMac(await volumeOf(host));
  const later = { ...header, sequence: header.sequence + 1, set: otherSetName };
  const slots: HeaderOnStorage = [encodeSlot(later, mac), undefined];
  await host.putHeader(diskName, slots);
  await assert.rejects(host.content(1), { reason: 'HEADER_FORGED' });
  await host.restart();
  assert.deepEqual(await host.headerOf(diskName), slots);
});

test('CMK-89: the store keeps only the current wrap after a rewrap, and no wrap of a deleted disk', async (context) => {
  const host = await hostWithDisk(context);
  const volumeId = await volumeOf(host);
  const versionKept = async () => (await host.storedHeader(volumeId))?.wrap.keyVersion;
  const first = host.keyOf(setName).keyVersion;
  assert.equal(await versionKept(), first);
  await rotate(host, diskName);
  assert.equal(await versionKept(), host.keyOf(setName).keyVersion);
  await host.disks.deleteDisk({ name: diskName });
  assert.equal(await versionKept(), undefined);
});

test('G5: a header that cannot be restored because storage fails is reported, and is restored once storage works', async (context) => {
  let isFailing = false;
  const host = await hostWithDisk(context, false, { flushFails: (part) => isFailing && part === 'header' });
  await host.putHeader(diskName, [undefined, undefined]);
  isFailing = true;
  await assert.rejects(host.content(1));
  assert.deepEqual(findings(host), ['HEADER_BEHIND refused']);
  isFailing = false;
  assert.deepEqual(await host.content(content.length), content);
});

test('CMK-110: an access to a disk that moves to another set and is deleted meanwhile finds no disk, and no damage', async (context) => {
  const host = await hostWithDisk(context);
  const hold = host.holdUnwrap();
  const disks = host.clientWithoutRetries(DiskServiceDefinition);
  const access = disks.beginAccess({ name: diskName, accessLevel: 'READ', durationSeconds: 60 });
  access.catch(() => undefined);
  await hold.reached;
  await host.disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) });
  await host.disks.deleteDisk({ name: diskName });
  hold.release();
  await assert.rejects(access, { code: 'NOT_FOUND', reason: 'DISK_NOT_FOUND' });
  assert.deepEqual(findings(host), []);
});
