import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { pieceSize } from '../host/storage/sector.ts';
import { type DiskHost, diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const snapshotName = `${parent}/snapshots/s`;
/** More calls than one rewrap makes. */
const callsMax = 40;
/** Polls before a test fails. */
const looksMax = 400;

const hostWith = async (t: TestContext, options: Parameters<typeof startDiskHost>[0] = {}): Promise<DiskHost> => {
  // The snapshot copies the holes of its disk too.
  const host = await startDiskHost({ partBytesMax: 2 * pieceSize, ...options });
  t.after(() => host.stop());
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  await host.disks.createDisk({ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption });
  await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  return host;
};

/** Begins another generation of the set. @returns the target of the rewrap */
const beginMove = async (host: DiskHost) => {
  await host.rotate(setName);
  const { generation, keyVersion, principal } = host.keyOf(setName);
  await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
  return { generation, targetKeyVersion: keyVersion };
};

const recordOf = async (host: DiskHost, name: string) => {
  const state = name === snapshotName ? await host.snapshotStateOf(name) : await host.stateOf(name);
  assert.equal(state.status, 'active');
  return state;
};

/** Waits until the record and both slots of the header agree, without any call. */
const untilFollowed = async (host: DiskHost, name: string, what: string): Promise<string> => {
  for (let look = 1; ; look += 1) {
    const { keyVersion } = await recordOf(host, name);
    const atRest = await host.wrapsAtRest(name);
    if (isDeepStrictEqual(atRest, [keyVersion])) return keyVersion;
    assert.ok(look < looksMax, `${what}: the record says ${keyVersion}, the header ${atRest}`);
    await pause(10);
  }
};

for (const name of [diskName, snapshotName]) {
  const kind = name === diskName ? 'disk' : 'snapshot';

  test(`CMK-88: the record of a ${kind} follows its header if the next generation begins during a rewrap, without a retry`, async (t) => {
    let onHeader: (() => Promise<void>) | undefined;
    const host = await hostWith(t, {
      async beforeWrite(part) {
        const once = part === 'header' ? onHeader : undefined;
        if (once) onHeader = undefined;
        await once?.();
      },
    });
    const target = await beginMove(host);
    onHeader = async () => void (await beginMove(host));
    await assert.rejects(rewrapDek(host.asSets, { name, ...target }), { reason: 'GENERATION_OUTDATED' });
    // The set requests no rewrap to the next generation.
    assert.equal(await untilFollowed(host, name, 'overtaken'), target.targetKeyVersion);
    const { generation } = await recordOf(host, name);
    assert.equal(generation, target.generation, 'the next rewrap still lists it');
  });

  test(`CMK-88: after a crash at any call of a rewrap, the record of a ${kind} follows its header without a retry`, async (t) => {
    const versions = new Set<string>();
    for (let failAt = 1; failAt < callsMax; failAt += 1) {
      const host = await hostWith(t);
      const target = await beginMove(host);
      host.faults.arm(failAt, 'crash');
      await Promise.allSettled([rewrapDek(host.asSets, { name, ...target })]);
      host.faults.disarm();
      await host.restart();
      versions.add(await untilFollowed(host, name, `crash at call ${failAt}`));
    }
    assert.equal(versions.size, 2, 'some moved and some did not');
  });

  test(`CMK-88, CMK-10: after a fault at any call of a rewrap, a ${kind} has one wrap and its record follows it without a retry`, async (t) => {
    const versions = new Set<string>();
    for (let failAt = 1; failAt < callsMax; failAt += 1) {
      const host = await hostWith(t);
      const target = await beginMove(host);
      host.faults.arm(failAt, 'once');
      await Promise.allSettled([rewrapDek(host.asSets, { name, ...target })]);
      host.faults.disarm();
      versions.add(await untilFollowed(host, name, `fault at call ${failAt}`));
    }
    assert.equal(versions.size, 2, 'some moved and some did not');
  });
}
