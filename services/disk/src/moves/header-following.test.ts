import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type DiskHost, diskName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

const parent = 'subscriptions/s/resourceGroups/g';
const snapshotName = `${parent}/snapshots/s`;
/** Calls of one rewrap, at most. */
const callsMax = 40;
/** Looks for what is to be so soon. */
const looksMax = 400;

const hostWith = async (t: TestContext, options: Parameters<typeof startDiskHost>[0] = {}): Promise<DiskHost> => {
  const host = await startDiskHost(options);
  t.after(() => host.stop());
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  await host.disks.createDisk({ parent, diskId: 'd', location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption });
  await host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: diskName });
  return host;
};

/** Begins another generation of the set. @returns what is asked for then */
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

  test(`CMK-88: the record of a ${kind} follows a header that moved while the next generation began, without a retry of that move`, async (t) => {
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
    // The key of the next generation is gone before anything moves to it, and the set asks for nothing.
    assert.equal(await untilFollowed(host, name, 'overtaken'), target.targetKeyVersion);
    const { generation } = await recordOf(host, name);
    assert.equal(generation, target.generation, 'the next move still finds it');
  });

  test(`CMK-88: wherever a crash interrupts the move of a ${kind}, its record follows its header without a retry of the move`, async (t) => {
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

  test(`CMK-88, CMK-10: wherever the move of a ${kind} fails, its record follows its header, and no other wrap is left, without a retry of the move`, async (t) => {
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
