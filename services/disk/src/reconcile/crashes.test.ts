import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Commit, Rejection, StoreUnavailable } from '@interlock/event-store';
import { type Clock, systemClock } from '@interlock/runtime';
import { existing } from '../disk/decider.ts';
import { pieceSize } from '../host/storage/sector.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from '../host/test-disk-host.ts';
import { rewrapDek } from '../testing/test-one-disk.ts';

/**
 * Runs each operation many times. Each time the next of its calls to a dependency (store, files, vault, set) fails, once or
 * permanently as in a crash. After a restart the disk must have its content under the old or the new key, no volume may be
 * left over, and a retry of the operation must succeed (CMK-88, CMK-110).
 */
interface Operation {
  readonly name: string;
  readonly options?: Parameters<typeof startDiskHost>[0];
  prepare(host: DiskHost): Promise<void>;
  run(host: DiskHost): Promise<unknown>;
  /** Asserts the state after the retry. */
  done(host: DiskHost): Promise<void>;
}

const content = randomBytes(10_000);
const diskRequest = (encryption: Encryption) =>
  ({
    parent: 'subscriptions/s/resourceGroups/g',
    diskId: 'd',
    location: 'l',
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption,
  }) as const;
const createDisk = (host: DiskHost, encryption: Encryption) => host.disks.createDisk(diskRequest(encryption));
const snapshotName = 'subscriptions/s/resourceGroups/g/snapshots/s';
const snapshotRequest = { parent: 'subscriptions/s/resourceGroups/g', snapshotId: 's', sourceDisk: diskName };
const under = (set: string): Encryption => ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set });
const platform: Encryption = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' };
const withContent = (encryption: Encryption) => async (host: DiskHost) => {
  await createDisk(host, encryption);
  await host.fill(content);
};
/** With a snapshot that shares the DEK, so that a change of encryption has to copy the disk. */
const withSnapshot = (encryption: Encryption) => async (host: DiskHost) => {
  await withContent(encryption)(host);
  await host.disks.createSnapshot(snapshotRequest);
};
/** Short files, because copies take time for holes too. */
const shortFiles = { partBytesMax: 2 * pieceSize };
const hasContent = async (host: DiskHost) => assert.deepEqual(await host.content(content.length), content);
const changesTo = (encryption: Encryption) => ({
  run: (host: DiskHost) => host.disks.changeDiskEncryption({ name: diskName, encryption }),
  done: async (host: DiskHost) => {
    const { encryption: now, provisioningState } = await host.disks.getDisk({ name: diskName });
    assert.deepEqual(now, encryption);
    assert.equal(provisioningState, 'SUCCEEDED');
    await hasContent(host);
  },
});

const operations: readonly Operation[] = [
  {
    name: 'create a disk under a set',
    prepare: async () => undefined,
    run: (host) => createDisk(host, under(setName)),
    done: async (host) => {
      await host.fill(content);
      await hasContent(host);
    },
  },
  { name: 'platform → set', prepare: withContent(platform), ...changesTo(under(setName)) },
  { name: 'set → other set', prepare: withContent(under(setName)), ...changesTo(under(otherSetName)) },
  { name: 'set → platform', prepare: withContent(under(setName)), ...changesTo(platform) },
  {
    name: 'set → other set, by a copy',
    options: shortFiles,
    prepare: withSnapshot(under(setName)),
    ...changesTo(under(otherSetName)),
  },
  {
    name: 'rewrap',
    prepare: async (host) => {
      await withContent(under(setName))(host);
      await host.rotate(setName);
      const { generation, keyVersion, principal } = host.keyOf(setName);
      await host.asSets.beginGeneration({ diskEncryptionSet: setName, generation, keyVersion, principal });
    },
    run: (host) => {
      const { generation, keyVersion: targetKeyVersion } = host.keyOf(setName);
      return rewrapDek(host.asSets, { name: diskName, generation, targetKeyVersion });
    },
    done: async (host) => {
      assert.equal((await host.disks.getDisk({ name: diskName })).keyVersion, host.keyOf(setName).keyVersion);
      host.forgetKeysBefore(setName);
      await hasContent(host);
    },
  },
  {
    name: 'grow',
    prepare: withContent(under(setName)),
    run: (host) => host.disks.growDisk({ name: diskName, sizeGib: 2 }),
    done: async (host) => {
      assert.equal((await host.disks.getDisk({ name: diskName })).sizeGib, 2);
      await hasContent(host);
      assert.deepEqual(await host.content(4, 2 ** 31 - 4), Buffer.alloc(4));
    },
  },
  {
    name: 'take a snapshot',
    options: shortFiles,
    prepare: withContent(under(setName)),
    run: (host) => host.disks.createSnapshot(snapshotRequest),
    done: async (host) => {
      const { snapshots } = await host.disks.listSnapshots({ sourceDisk: diskName });
      assert.equal(snapshots.length, 1);
      await hasContent(host);
    },
  },
  {
    name: 'delete',
    prepare: withContent(under(setName)),
    run: (host) => host.disks.deleteDisk({ name: diskName }),
    done: async (host) => {
      assert.deepEqual(host.volumeIds(), []);
      await assert.rejects(host.disks.getDisk({ name: diskName }), { reason: 'DISK_NOT_FOUND' });
    },
  },
];

/** Maximum of calls of one operation, to end a test that never completes. */
const callsMax = 400;

for (const mode of ['once', 'crash'] as const) {
  describe(`the n-th call of an operation fails ${mode === 'once' ? 'once' : 'and the process dies'}`, () => {
    for (const operation of operations) {
      test(operation.name, { timeout: 120_000 }, async () => {
        let failAt = 1;
        for (let isThrough = false; !isThrough; failAt++) {
          assert.ok(failAt < callsMax, 'the operation makes ever more calls');
          const host = await startDiskHost(operation.options);
          await operation.prepare(host);
          host.faults.arm(failAt, mode);
          const outcome = await operation.run(host).then(
            () => 'done',
            (error: unknown) => error,
          );
          isThrough = outcome === 'done' && host.faults.calls() < failAt;
          host.faults.disarm();
          await host.restart();
          assert.deepEqual(
            host.volumeIds(),
            await host.volumesInUse(),
            `volumes after a fault at call ${failAt}: ${outcome}`,
          );
          const state = await host.stateOf(diskName);
          assert.ok(
            state.status === 'absent' || state.status === 'active',
            `${state.status} after a fault at call ${failAt}`,
          );
          assert.ok(state.status === 'absent' || state.changing === null, `unsettled after a fault at call ${failAt}`);
          if (state.status === 'active' && operation.name !== 'create a disk under a set') await hasContent(host);
          await operation.run(host).catch((error: unknown) => {
            throw new Error(`asked again after a fault at call ${failAt} (${outcome})`, { cause: error });
          });
          await operation.done(host);
          await host.stop();
        }
        assert.ok(failAt > 3, 'faults were injected');
      });
    }
  });
}

describe('G5: the n-th flush of an operation fails and discards its data, the operation is retried, and the power fails', () => {
  for (const operation of operations) {
    test(operation.name, { timeout: 120_000 }, async () => {
      let failAt = 1;
      for (let isThrough = false; !isThrough; failAt++) {
        assert.ok(failAt < callsMax, 'the operation makes ever more flushes');
        let flushes = Number.NEGATIVE_INFINITY;
        const flushFails = (): boolean => {
          flushes += 1;
          return flushes === failAt;
        };
        const host = await startDiskHost({ ...operation.options, flushFails });
        await operation.prepare(host);
        flushes = 0;
        const outcome = await operation.run(host).then(
          () => 'done',
          (error: unknown) => error,
        );
        isThrough = flushes < failAt;
        flushes = Number.NEGATIVE_INFINITY;
        if (outcome !== 'done') await operation.run(host);
        // Unflushed data is lost, and so is data that a failed flush discarded.
        await host.restart();
        assert.deepEqual(
          host.volumeIds(),
          await host.volumesInUse(),
          `volumes after flush ${failAt} failed: ${outcome}`,
        );
        await operation.run(host);
        await operation.done(host);
        await host.stop();
      }
    });
  }
});

describe('G5: no event is stored for a header that storage cannot flush', () => {
  const changing = operations.filter(({ name }) => ['platform → set', 'rewrap', 'grow'].includes(name));
  for (const operation of changing) {
    test(operation.name, { timeout: 120_000 }, async (t) => {
      let isFailing = false;
      const host = await startDiskHost({ ...operation.options, flushFails: (part) => part === 'header' && isFailing });
      t.after(() => host.stop());
      await operation.prepare(host);
      const before = await host.stateOf(diskName);
      isFailing = true;
      await assert.rejects(operation.run(host));
      await assert.rejects(operation.run(host));
      // An open finds the header as the change wrote it.
      await assert.rejects(host.content(content.length));
      isFailing = false;
      await host.restart();
      // The start of the change is an event, which `changing` and `steps` show.
      const settled = (disk: Awaited<ReturnType<DiskHost['stateOf']>>) => ({
        ...existing(disk),
        ...{ changing: undefined, steps: undefined, attachEpoch: 0, accessEpoch: 0 },
      });
      assert.deepEqual(settled(await host.stateOf(diskName)), settled(before));
      await hasContent(host);
      await operation.run(host);
      await operation.done(host);
    });
  }
});

test('G5: after a failed flush, all flushes fail until the disk is reopened', async (t) => {
  let isFailing = false;
  const host = await startDiskHost({ flushFails: (part) => part === 'data' && isFailing });
  t.after(() => host.stop());
  await createDisk(host, platform);
  const write = await host.writer();
  await write(content);
  isFailing = true;
  await assert.rejects(write(randomBytes(content.length)), { code: 'INTERNAL' });
  isFailing = false;
  await assert.rejects(write(randomBytes(content.length)), { code: 'DATA_LOSS', reason: 'FLUSH_FAILED' });
  await host.disks.endAccess({ name: diskName });
  const again = randomBytes(content.length);
  await host.fill(again);
  await host.restart();
  assert.deepEqual(await host.content(content.length), again);
});

test('CMK-110: a change of encryption interrupted by a store fault is reconciled without a retry', {
  timeout: 120_000,
}, async () => {
  let hurt = 0;
  for (let failAt = 1; failAt < 60; failAt++) {
    const host = await startDiskHost();
    await withContent(platform)(host);
    host.faults.arm(failAt, 'once', (text) => new StoreUnavailable(text));
    const disks = host.clientWithoutRetries(DiskServiceDefinition);
    const changing = disks.changeDiskEncryption({ name: diskName, encryption: under(setName) });
    const [outcome] = await Promise.allSettled([changing]);
    host.faults.disarm();
    if (outcome?.status === 'rejected') hurt += 1;
    while ((await host.disks.getDisk({ name: diskName })).provisioningState !== 'SUCCEEDED') await pause(5);
    await hasContent(host);
    await host.stop();
  }
  assert.ok(hurt > 5);
});

for (const [how, prepare, options] of [
  ['in place', withContent(platform), {}],
  ['by a copy', withSnapshot(platform), shortFiles],
] as const) {
  test(`CMK-110: a change of encryption ${how} is reconciled without a retry if the response to a stored commit is lost`, {
    timeout: 120_000,
  }, async () => {
    let failAt = 1;
    for (let isThrough = false; !isThrough; failAt++) {
      let commits = Number.NEGATIVE_INFINITY;
      const host = await startDiskHost({
        ...options,
        afterCommit: () => {
          commits += 1;
          if (commits === failAt) throw new StoreUnavailable('stored, but not answered');
        },
      });
      await prepare(host);
      commits = 0;
      const disks = host.clientWithoutRetries(DiskServiceDefinition);
      isThrough = await disks.changeDiskEncryption({ name: diskName, encryption: under(setName) }).then(
        () => true,
        () => false,
      );
      commits = Number.NEGATIVE_INFINITY;
      while ((await host.disks.getDisk({ name: diskName })).provisioningState !== 'SUCCEEDED') await pause(5);
      // Neither the former volume nor an unfinished copy is left.
      while (!isDeepStrictEqual(host.volumeIds(), await host.volumesInUse())) await pause(5);
      await hasContent(host);
      await host.stop();
    }
    assert.ok(failAt > 2, 'answers were lost');
  });
}

test('CMK-109: a disk whose volume is damaged during a change of encryption can be deleted', {
  timeout: 120_000,
}, async (t) => {
  let isDamaged = false;
  const host = await startDiskHost({
    beforeOpen: async () => {
      if (isDamaged) throw new Rejection('DATA_LOSS', 'HEADER_CORRUPT', 'damaged');
    },
    onCommit({ appends = [] }) {
      isDamaged ||= appends.some(({ events }) => events.some(({ type }) => type === 'EncryptionChanging'));
    },
  });
  t.after(() => host.stop());
  await createDisk(host, under(setName));
  const disks = host.clientWithoutRetries(DiskServiceDefinition);
  await assert.rejects(disks.changeDiskEncryption({ name: diskName, encryption: under(otherSetName) }), {
    reason: 'HEADER_CORRUPT',
  });
  await disks.deleteDisk({ name: diskName });
  assert.equal((await host.stateOf(diskName)).status, 'absent');
  assert.deepEqual(host.volumeIds(), []);
});

/** Every wait is short, so that periodic searches run soon. */
const hurried: Clock = { ...systemClock, sleep: (ms, ...signals) => systemClock.sleep(Math.min(ms, 200), ...signals) };

for (const [what, announcement, prepare, run] of [
  [
    'creation',
    'DiskCreating',
    async () => undefined,
    (disks: DiskHost['disks']) => disks.createDisk(diskRequest(platform)),
  ],
  [
    'change of encryption',
    'EncryptionChanging',
    withContent(platform),
    (disks: DiskHost['disks']) => disks.changeDiskEncryption({ name: diskName, encryption: under(setName) }),
  ],
  [
    'deletion',
    'DiskDeleting',
    withContent(platform),
    (disks: DiskHost['disks']) => disks.deleteDisk({ name: diskName }),
  ],
] as const) {
  test(`CMK-110: a ${what} whose first commit is stored long after its caller got an error is reconciled`, {
    timeout: 30_000,
  }, async (t) => {
    let late: { readonly commit: Commit } | undefined;
    const host = await startDiskHost({
      clock: hurried,
      onCommit(commit) {
        const isAnnounced = commit.appends?.some(({ events }) => events.some(({ type }) => type === announcement));
        if (!isAnnounced || late) return;
        late = { commit };
        throw new StoreUnavailable('it did not answer in time');
      },
    });
    t.after(() => host.stop());
    await prepare(host);
    await assert.rejects(run(host.clientWithoutRetries(DiskServiceDefinition)));
    // The watchdog searches meanwhile and finds nothing to reconcile.
    await pause(1_000);
    if (late) await host.commit(late.commit, { correlationId: 'c', causes: [], caller: 'test' });
    const isSettled = async (): Promise<boolean> => {
      const state = await host.stateOf(diskName);
      return state.status === 'absent' || (state.status === 'active' && state.changing === null);
    };
    assert.equal(await isSettled(), false);
    while (!(await isSettled())) await pause(5);
    assert.deepEqual(host.volumeIds(), await host.volumesInUse());
  });
}

/** Creations, and how to delete what an interrupted one leaves. */
const creations = [
  {
    name: 'create a disk',
    options: {},
    prepare: async () => undefined,
    run: (disks: DiskHost['disks']) => disks.createDisk(diskRequest(under(setName))),
    remove: (disks: DiskHost['disks']) => disks.deleteDisk({ name: diskName }),
  },
  {
    name: 'take a snapshot',
    options: shortFiles,
    prepare: withContent(under(setName)),
    run: (disks: DiskHost['disks']) => disks.createSnapshot(snapshotRequest),
    remove: (disks: DiskHost['disks']) => disks.deleteSnapshot({ name: snapshotName }),
  },
] as const;
const isWhole = async (host: DiskHost): Promise<boolean> => {
  const states = [await host.stateOf(diskName), await host.snapshotStateOf(snapshotName)];
  return (
    states.every(({ status }) => status === 'absent' || status === 'active') &&
    isDeepStrictEqual(host.volumeIds(), await host.volumesInUse())
  );
};
const unavailable = (text: string): Error => new StoreUnavailable(text);

for (const { name, options, prepare, run, remove } of creations) {
  /** The n-th call and all later ones fail, so that the creation cannot be undone at once either, until `disarm`. */
  const interrupted = async (failAt: number, error?: (text: string) => Error) => {
    const host = await startDiskHost(options);
    await prepare(host);
    host.faults.arm(failAt, 'crash', error);
    const disks = host.clientWithoutRetries(DiskServiceDefinition);
    const isDone = await run(disks).then(
      () => true,
      () => false,
    );
    return { host, disks, isDone };
  };

  for (const [what, error] of [
    ['every dependency', undefined],
    ['the store', unavailable],
  ] as const) {
    test(`CMK-110: ${name}: a creation that fails while ${what} is unavailable is undone without a restart or a retry`, {
      timeout: 120_000,
    }, async () => {
      let failAt = 1;
      for (let isThrough = false; !isThrough; failAt++) {
        assert.ok(failAt < callsMax);
        const { host, isDone } = await interrupted(failAt, error);
        isThrough = isDone;
        host.faults.disarm();
        while (!(await isWhole(host))) await pause(5);
        await host.stop();
      }
      assert.ok(failAt > 5, 'faults were injected');
    });
  }

  test(`CMK-110: ${name}: an interrupted creation can be deleted as soon as its dependencies are available`, {
    timeout: 120_000,
  }, async () => {
    let failAt = 1;
    for (let isThrough = false; !isThrough; failAt++) {
      const { host, disks, isDone } = await interrupted(failAt);
      isThrough = isDone;
      host.faults.disarm();
      await remove(disks).catch((error: unknown) =>
        assert.match(String((error as { reason?: unknown }).reason), /^(DISK|SNAPSHOT)_NOT_FOUND$/),
      );
      assert.ok(await isWhole(host), `after a fault at call ${failAt}`);
      await host.stop();
    }
    assert.ok(failAt > 5, 'faults were injected');
  });

  test(`CMK-110: ${name}: a stored commit whose response is lost leaves no partial resource`, {
    timeout: 120_000,
  }, async () => {
    let failAt = 1;
    for (let isThrough = false; !isThrough; failAt++) {
      let commits = Number.NEGATIVE_INFINITY;
      const host = await startDiskHost({
        ...options,
        afterCommit: () => {
          commits += 1;
          if (commits === failAt) throw new StoreUnavailable('stored, but not answered');
        },
      });
      await prepare(host);
      commits = 0;
      isThrough = await run(host.clientWithoutRetries(DiskServiceDefinition)).then(
        () => true,
        () => false,
      );
      commits = Number.NEGATIVE_INFINITY;
      while (!(await isWhole(host))) await pause(5);
      await host.stop();
    }
    assert.ok(failAt > 2, 'answers were lost');
  });
}

for (const [name, { options, prepare, run, remove }] of creations.map(
  (creation) => [creation.name.replace(/^\S+/, 'delete'), creation] as const,
)) {
  test(`${name}: an interrupted deletion is completed without a retry, whichever call failed`, {
    timeout: 120_000,
  }, async () => {
    let failAt = 1;
    for (let isThrough = false; !isThrough; failAt++) {
      const host = await startDiskHost(options);
      await prepare(host);
      await run(host.disks);
      host.faults.arm(failAt, 'crash');
      isThrough = await remove(host.clientWithoutRetries(DiskServiceDefinition)).then(
        () => true,
        () => false,
      );
      host.faults.disarm();
      while (!(await isWhole(host))) await pause(5);
      await host.stop();
    }
    assert.ok(failAt > 3, 'faults were injected');
  });
  test(`${name}: a deletion is completed without a retry if the response to its first commit is lost`, {
    timeout: 120_000,
  }, async () => {
    let commits = Number.NEGATIVE_INFINITY;
    const host = await startDiskHost({
      ...options,
      afterCommit: () => {
        commits += 1;
        if (commits === 1) throw new StoreUnavailable('stored, but not answered');
      },
    });
    await prepare(host);
    await run(host.disks);
    commits = 0;
    await assert.rejects(remove(host.clientWithoutRetries(DiskServiceDefinition)));
    const isGone = async (): Promise<boolean> => {
      const states = [await host.stateOf(diskName), await host.snapshotStateOf(snapshotName)];
      return states.every(({ status }) => status !== 'deleting') && (await isWhole(host));
    };
    while (!(await isGone())) await pause(5);
    await host.stop();
  });
}
