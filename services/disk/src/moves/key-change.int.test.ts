import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFile, open as openFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { begin, beginChange } from '../disk/decider.ts';
import { readUnverifiedSlot } from '../host/header/disk-header-format.ts';
import { sectorSize } from '../host/storage/sector.ts';
import { contentOf, diskStreams, newSnapshot, platformKey, volumeOf } from '../host/storage/test-disk-content.ts';
import { location, resourceGroup } from '../testing/test-cloud-disks.ts';
import { type DiskCloud, startDiskCloud, until } from '../testing/test-disk-cloud.ts';
import { openDisk, rewrapDek } from '../testing/test-one-disk.ts';

let cloud: DiskCloud;
before(async () => {
  cloud = await startDiskCloud({ hasShortFiles: true });
});
after(() => cloud.close());

const limit = { timeout: 180_000 };
const cause = { correlationId: 'test', causes: [], caller: 'system:test' };

describe('moving to another key', () => {
  test(
    'CMK-15, CMK-16, CMK-80, CMK-82, CMK-89: a rotation does not interrupt I/O, and then the old version is not needed',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disks = [await cloud.newDisk({ set }), await cloud.newDisk({ set })];
      const snapshot = await newSnapshot(cloud, disks[0]?.name ?? '');
      const [first] = disks;
      assert.ok(first);
      const open = await cloud.openNew(first.name);
      const content = randomBytes(4_096);
      await cloud.write(first.name, open.accessToken, 0, content);
      const next = await cloud.newKey(set.vault);
      const failures: unknown[] = [];
      const stop = new AbortController();
      const running = (async () => {
        for (let n = 0; !stop.signal.aborted; n = (n + 1) % 100) {
          await cloud
            .write(first.name, open.accessToken, 4_096 * (1 + n), content)
            .catch((error: unknown) => failures.push(error));
        }
      })();
      await cloud.sets.assignKey({ name: set.name, keyUrl: next.keyUrl });
      await until(async () => {
        const shown = await cloud.sets.getDiskEncryptionSet({ name: set.name });
        return shown.previousKeys.length === 0 && shown.rotation?.state === 'SUCCEEDED';
      });
      stop.abort();
      await running;
      assert.deepEqual(failures, []);
      for (const { name } of disks) assert.equal((await cloud.disks.getDisk({ name })).keyVersion, next.keyVersion);
      assert.equal((await cloud.disks.getSnapshot({ name: snapshot.name })).keyVersion, next.keyVersion);
      const { resources } = await cloud.setsWorkload.listEncryptedResources({
        diskEncryptionSet: set.name,
        belowGeneration: 2,
      });
      assert.deepEqual(resources, []);

      await cloud.vault.disableKeyVersion({ name: set.keyVersion });
      assert.deepEqual(await cloud.read(first.name, open.accessToken, 0, 4_096), content);
      const { virtualMachine } = open;
      const again = await openDisk(cloud.compute, { name: first.name, virtualMachine });
      assert.equal(again.keyVersion, next.keyVersion);
      assert.deepEqual(await cloud.read(first.name, again.accessToken, 0, 4_096), content);
      const copy = await cloud.newDisk({ source: { $case: 'sourceSnapshot', value: snapshot.name } });
      assert.equal(copy.keyVersion, next.keyVersion, 'CMK-86');
      await cloud.vault.disableKeyVersion({ name: next.keyVersion });
      await until(async () => (await cloud.disks.getDisk({ name: first.name })).availability === 'UNAVAILABLE');
      await assert.rejects(cloud.read(first.name, again.accessToken, 0, 4_096), { reason: 'KEY_DISABLED' });
    },
  );
  test(
    'CMK-86: a rewrap to a generation not in force is refused; one in force moves a disk once, and new disks are under it',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk({ set });
      const next = await cloud.newKey(set.vault);
      const target = { name: disk.name, targetKeyVersion: next.keyVersion, generation: 2 };
      await assert.rejects(rewrapDek(cloud.setsWorkload, target), { reason: 'GENERATION_OUTDATED' });
      const begun = {
        diskEncryptionSet: set.name,
        generation: 2,
        keyVersion: next.keyVersion,
        principal: set.principal,
      };
      assert.equal((await cloud.setsWorkload.beginGeneration(begun)).generation, 2);
      assert.equal((await cloud.setsWorkload.beginGeneration({ ...begun, generation: 1 })).generation, 2);
      const below = { diskEncryptionSet: set.name, belowGeneration: 2 };
      assert.equal((await cloud.setsWorkload.listEncryptedResources(below)).resources.length, 1);
      const [one, two] = await Promise.all([
        rewrapDek(cloud.setsWorkload, target),
        rewrapDek(cloud.setsWorkload, target),
      ]);
      assert.deepEqual(one, two);
      assert.equal(one.keyVersion, next.keyVersion);
      assert.deepEqual((await cloud.setsWorkload.listEncryptedResources(below)).resources, []);
      const events = await cloud.database
        .sql`select type from events where stream = ${`disk-${disk.name}`} and type = 'DekRewrapped'`;
      assert.equal(events.length, 1);
      // Under the new generation, though the set itself still names the old key.
      assert.equal((await cloud.newDisk({ set })).keyVersion, next.keyVersion);
    },
  );
});

describe('the key version of a disk', () => {
  test(
    'KV-43, KV-55: a header stores the exact key version and algorithm of its wrap, and an unwrap uses that version',
    limit,
    async () => {
      const set = await cloud.newSet();
      const disk = await cloud.newDisk({ set });
      const bytes = await readFile(join(cloud.folder, `${await volumeOf(cloud, disk.name)}.header`));
      const slots = [0, sectorSize].flatMap((at) => readUnverifiedSlot(bytes.subarray(at, at + sectorSize)) ?? []);
      assert.deepEqual(
        slots.map(({ wrap }) => [wrap.keyVersion, wrap.algorithm, wrap.wrapped.length]),
        [[set.keyVersion, 'RSA-OAEP-256', 256]],
      );
      // The key has a newer current version. That one cannot unwrap the DEK, so the host must name the version of the wrap.
      const [key = ''] = set.keyVersion.split('/versions/');
      await cloud.vault.rotateKey({ name: key, requestId: randomUUID() });
      assert.equal((await contentOf(cloud, disk, 1)).length, 1);
      const { auditEntries } = await cloud.vault.listAuditEntries({ parent: set.vault, operation: 'KeyUnwrap' });
      assert.deepEqual(
        [...new Set(auditEntries.map(({ keyVersion, result }) => `${keyVersion} ${result}`))],
        [`${set.keyVersion} SUCCESS`],
      );
    },
  );
  test('CheckKeyAccess returns the grant of the vault, or its refusal unchanged', limit, async () => {
    const set = await cloud.newSet();
    const question = { diskEncryptionSet: set.name, keyVersion: set.keyVersion, principal: set.principal };
    const { accessEpoch, enabled } = await cloud.setsWorkload.checkKeyAccess(question);
    assert.ok(enabled && accessEpoch > 0);
    await cloud.vault.disableKeyVersion({ name: set.keyVersion });
    await assert.rejects(
      cloud.setsWorkload.checkKeyAccess(question),
      (error: { reason: string; metadata: Record<string, string> }) => {
        assert.equal(error.reason, 'KEY_DISABLED');
        assert.ok(Number(error.metadata.access_epoch) > accessEpoch);
        return true;
      },
    );
    await assert.rejects(cloud.disks.checkKeyAccess(question), { reason: 'WORKLOAD_REQUIRED' });
  });
});

describe('damage and crashes', () => {
  test(
    'the header of another disk is refused with HEADER_FORGED, and a damaged one is restored from the store',
    limit,
    async () => {
      const set = await cloud.newSet();
      const [disk, other] = [await cloud.newDisk({ set }), await cloud.newDisk({ set })];
      const header = join(cloud.folder, `${await volumeOf(cloud, disk.name)}.header`);
      const good = `${header}.good`;
      await copyFile(header, good);
      await copyFile(join(cloud.folder, `${await volumeOf(cloud, other.name)}.header`), header);
      await assert.rejects(contentOf(cloud, disk, 1), { code: 'DATA_LOSS', reason: 'HEADER_FORGED' });
      assert.equal((await cloud.disks.getDisk({ name: disk.name })).name, disk.name);
      await copyFile(good, header);
      assert.equal((await contentOf(cloud, disk, 1)).length, 1);
      const file = await openFile(header, 'r+');
      await file.write(randomBytes(8_192), 0, 8_192, 0);
      await file.close();
      assert.equal((await contentOf(cloud, disk, 1)).length, 1);
      assert.ok(cloud.log.some((line) => line.includes('HEADER_CORRUPT')));
      const said = (bytes: Uint8Array) => readUnverifiedSlot(bytes.subarray(0, sectorSize));
      assert.deepEqual(said(await readFile(header)), said(await readFile(good)));
    },
  );
  test('CMK-110: a creation interrupted by a crash is undone at the next start', limit, async () => {
    const name = `${resourceGroup}/disks/cut-off`;
    const volumeId = randomUUID();
    const spec = {
      uniqueId: randomUUID(),
      location,
      sku: 'ultra',
      sizeGib: 1,
      encryption: { type: 'platform' },
      source: '',
    } as const;
    await diskStreams(cloud).transact(name, begin(1, 'wish', { host: 'disk-0', volumeId }, spec), cause);
    await writeFile(join(cloud.folder, `${volumeId}.data`), new Uint8Array(sectorSize));
    assert.equal((await cloud.disks.getDisk({ name })).provisioningState, 'CREATING');
    await cloud.restartDisk();
    await assert.rejects(cloud.disks.getDisk({ name }), { reason: 'DISK_NOT_FOUND' });
    assert.ok(!(await cloud.volumeFiles()).includes(`${volumeId}.data`));
  });
  test('a change of encryption interrupted by a crash before its wrap leaves the disk unchanged', limit, async () => {
    const set = await cloud.newSet();
    const disk = await cloud.newDisk();
    await diskStreams(cloud).transact(
      disk.name,
      beginChange(1, { type: 'customer', set: set.name }, randomUUID()),
      cause,
    );
    assert.equal((await cloud.disks.getDisk({ name: disk.name })).provisioningState, 'UPDATING');
    await cloud.restartDisk();
    const { provisioningState, encryption } = await cloud.disks.getDisk({ name: disk.name });
    assert.deepEqual({ provisioningState, encryption }, { provisioningState: 'SUCCEEDED', encryption: platformKey });
  });
  test('CMK-88: after a crash a header ahead of the events is used, and the events follow', limit, async () => {
    const set = await cloud.newSet();
    const disk = await cloud.newDisk({ set });
    const before = await diskStreams(cloud).load(disk.name);
    const next = await cloud.newKey(set.vault);
    await cloud.setsWorkload.beginGeneration({
      diskEncryptionSet: set.name,
      generation: 2,
      keyVersion: next.keyVersion,
      principal: set.principal,
    });
    await rewrapDek(cloud.setsWorkload, { name: disk.name, targetKeyVersion: next.keyVersion, generation: 2 });
    // As if the service had died between the header and the event: the event and the row are taken back.
    const { sql } = cloud.database;
    await sql`delete from events where stream = ${`disk-${disk.name}`} and type = 'DekRewrapped'`;
    await sql`update rows set row = ${sql.json(JSON.parse(JSON.stringify(before.state)))}, version = ${before.version} where table_name = ${diskStreams(cloud).table.table} and key = ${disk.name}`;
    await sql`update streams set version = ${before.version} where stream = ${`disk-${disk.name}`}`.catch(
      () => undefined,
    );
    assert.equal((await cloud.disks.getDisk({ name: disk.name })).keyVersion, set.keyVersion);
    const open = await cloud.openNew(disk.name);
    assert.equal(open.keyVersion, next.keyVersion);
    const [event] = await sql`select type from events where stream = ${`disk-${disk.name}`} and type = 'DekRewrapped'`;
    assert.ok(event);
  });
});
