import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Encryption, KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import type { CallOptions } from '@interlock/rpc';
import { noReply, refusal, type VaultBehaviour } from './host/keys/test-vault.ts';
import { pieceSize } from './host/storage/sector.ts';
import { type DiskHost, diskName, otherSetName, setName, startDiskHost } from './host/test-disk-host.ts';
import { rewrapDek } from './testing/test-one-disk.ts';

const limit = { timeout: 60_000 };
const parent = 'subscriptions/s/resourceGroups/g';
const under = (set: string): Encryption => ({ type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set });
const platform: Encryption = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' };
const content = randomBytes(10_000);
const snapshotId = 'before';
const snapshot = `${parent}/snapshots/${snapshotId}`;
const diskRequest = { parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1 } as const;

type Disks = DiskHost['disks'];

/** An operation that copies a disk or its snapshot. Both have content. */
interface Copy {
  readonly what: string;
  /** Encryption of the disk before the copy. */
  readonly encryption: Encryption;
  make(disks: Disks, call?: CallOptions): Promise<unknown>;
  /** Sets whose key it needs. */
  readonly needs: readonly string[];
}

const copyTo =
  (source: 'sourceDisk' | 'sourceSnapshot', value: string, encryption: Encryption) =>
  (disks: Disks, call?: CallOptions) =>
    disks.createDisk({ ...diskRequest, diskId: 'copy', encryption, source: { $case: source, value } }, call);
const snapshotUnder = (encryption?: Encryption) => (disks: Disks, call?: CallOptions) =>
  disks.createSnapshot({ parent, snapshotId: 'copy', sourceDisk: diskName, ...(encryption && { encryption }) }, call);
const changeTo = (encryption: Encryption) => (disks: Disks, call?: CallOptions) =>
  disks.changeDiskEncryption({ name: diskName, encryption }, call);

const [one, other] = [under(setName), under(otherSetName)];
const both = [setName, otherSetName];
const copies: readonly Copy[] = [
  { what: 'a snapshot with the same wrap', encryption: one, make: snapshotUnder(), needs: [setName] },
  { what: 'a snapshot under another set', encryption: one, make: snapshotUnder(other), needs: both },
  { what: 'a disk of a disk', encryption: one, make: copyTo('sourceDisk', diskName, one), needs: [setName] },
  { what: 'a disk of a snapshot', encryption: one, make: copyTo('sourceSnapshot', snapshot, one), needs: [setName] },
  { what: 'a disk under another set', encryption: one, make: copyTo('sourceDisk', diskName, other), needs: both },
  { what: 'a change to another set', encryption: one, make: changeTo(other), needs: both },
  { what: 'a change to a set', encryption: platform, make: changeTo(other), needs: [otherSetName] },
  { what: 'a change to the platform', encryption: one, make: changeTo(platform), needs: [setName] },
];

/** Starts a copy and pauses it at its first write of content. */
const midway = async (t: TestContext, { encryption, make }: Copy, deadlineMs = 30_000) => {
  let meet = async (): Promise<void> => undefined;
  const stored: string[] = [];
  const host = await startDiskHost({
    partBytesMax: 3 * pieceSize,
    onCommit: ({ appends = [] }) => stored.push(...appends.flatMap(({ events }) => events.map(({ type }) => type))),
    beforeWrite: async (part) => {
      if (part === 'data') await meet();
    },
  });
  t.after(() => host.stop());
  await host.disks.createDisk({ ...diskRequest, diskId: 'd', encryption });
  await host.fill(content);
  await host.disks.createSnapshot({ parent, snapshotId, sourceDisk: diskName });
  const before = { volumes: host.volumeIds(), disk: (await host.disks.getDisk({ name: diskName })).encryption };
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  meet = () => {
    reached.resolve();
    return released.promise;
  };
  const made = make(host.clientWithoutRetries(DiskServiceDefinition), { deadlineMs });
  made.catch(() => undefined);
  await reached.promise;
  return {
    host,
    /** Types of all events. */
    stored,
    /** Lets the copy continue. */
    goOn: () => {
      meet = async () => undefined;
      released.resolve();
    },
    made,
    /** The copy left nothing, the disk is unchanged, and the same copy succeeds once access is restored. */
    async assertUndone() {
      const { disks } = host;
      await assert.rejects(disks.getDisk({ name: `${parent}/disks/copy` }), { reason: 'DISK_NOT_FOUND' });
      await assert.rejects(disks.getSnapshot({ name: `${parent}/snapshots/copy` }), { reason: 'SNAPSHOT_NOT_FOUND' });
      assert.deepEqual(host.volumeIds(), before.volumes);
      const { encryption: now, provisioningState } = await disks.getDisk({ name: diskName });
      assert.deepEqual([now, provisioningState], [before.disk, 'SUCCEEDED']);
      host.setVault('well');
      assert.ok(isDeepStrictEqual(await host.content(content.length), content));
      await make(disks);
      assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    },
  };
};

const tellLoss = (
  host: DiskHost,
  loss: {
    readonly set: string;
    readonly keyVersion: string;
    readonly reason: KeyAccessReason;
    readonly accessEpoch: number;
  },
): Promise<void> =>
  host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: { ...loss, since: new Date(), partial: false } });

for (const copy of copies) {
  for (const set of copy.needs) {
    const which = copy.needs.length === 1 ? 'its key' : `the key of set ${set === setName ? 'one' : 'two'}`;
    test(
      `CMK-110: ${copy.what} fails without a vault call once ${which} is published as lost, and leaves nothing`,
      limit,
      async (t) => {
        const { host, goOn, made, assertUndone } = await midway(t, copy);
        const { keyVersion } = host.keyOf(set);
        await tellLoss(host, { set, keyVersion, reason: 'KEY_DISABLED', accessEpoch: 5 });
        const asked = host.checks.length;
        goOn();
        await assert.rejects(made, { code: 'FAILED_PRECONDITION', reason: 'KEY_DISABLED' });
        assert.equal(host.checks.length, asked, 'the vault is not called first');
        host.setEpoch(5);
        await assertUndone();
      },
    );
  }

  const answers: readonly (readonly [answer: string, VaultBehaviour, reason: string])[] = [
    ['refuses the key', refusal('KEY_DISABLED', 5), 'KEY_DISABLED'],
    ['does not respond', noReply, 'KEY_VAULT_UNREACHABLE'],
  ];
  for (const [answer, behaviour, reason] of answers) {
    test(
      `CMK-110: ${copy.what} fails and leaves nothing behind if the vault ${answer} before it is recorded`,
      limit,
      async (t) => {
        const { host, goOn, made, assertUndone } = await midway(t, copy);
        host.setVault(behaviour);
        goOn();
        await assert.rejects(made, { reason });
        host.setEpoch(5);
        await assertUndone();
      },
    );
  }
}

for (const copy of copies.filter(({ needs }) => needs.length === 2)) {
  test(
    `CMK-110: ${copy.what} fails if one key is lost after its check was granted, while the check of the other is pending`,
    limit,
    async (t) => {
      const { host, goOn, made, assertUndone } = await midway(t, copy);
      const { keyVersion } = host.keyOf(setName);
      const isAsked = () => host.checks.slice(before).some((asked) => asked.keyVersion === keyVersion);
      const before = host.checks.length;
      const hold = host.holdCheck(otherSetName);
      goOn();
      await hold.reached;
      while (!isAsked()) await setTimeout(5);
      // Time for the response to arrive.
      await setTimeout(100);
      await tellLoss(host, { set: setName, keyVersion, reason: 'KEY_DISABLED', accessEpoch: 5 });
      hold.release();
      await assert.rejects(made, { code: 'FAILED_PRECONDITION', reason: 'KEY_DISABLED' });
      host.setEpoch(5);
      await assertUndone();
    },
  );
}

test('CMK-62: during a change of encryption, attach and grow are refused at once, before the copy is complete', {
  timeout: 20_000,
}, async (t) => {
  const change = copies.find(({ what }) => what === 'a change to another set');
  assert.ok(change);
  const { host, goOn, made } = await midway(t, change);
  const disks = host.clientWithoutRetries(DiskServiceDefinition);
  const attach = { name: diskName, virtualMachine: `${parent}/virtualMachines/vm`, requestId: 'r' };
  const refusals = await Promise.allSettled([
    disks.attachDisk(attach, { deadlineMs: 5_000 }),
    disks.growDisk({ name: diskName, sizeGib: 2 }, { deadlineMs: 5_000 }),
  ]);
  goOn();
  await made;
  const reasons = refusals.map((one) => one.status === 'rejected' && one.reason.reason);
  assert.deepEqual(reasons, ['DISK_CHANGING', 'DISK_CHANGING']);
});

const allIn = async ({ disks }: DiskHost) => ({
  disks: (await disks.listDisks({ parent })).disks,
  snapshots: (await disks.listSnapshots({ parent })).snapshots,
});

/** A change of encryption has the disk to itself. */
const isChange = ({ what }: Copy): boolean => what.startsWith('a change');
const sourceOf = ({ what }: Copy): string => (what.endsWith('of a snapshot') ? snapshot : diskName);

for (const copy of copies.filter((one) => !isChange(one))) {
  test(
    `CMK-110: ${copy.what} fails as not found when its source is deleted, and leaves nothing behind`,
    limit,
    async (t) => {
      const { host, goOn, made } = await midway(t, copy);
      const name = sourceOf(copy);
      const isDisk = name === diskName;
      await (isDisk ? host.disks.deleteDisk({ name }) : host.disks.deleteSnapshot({ name }));
      goOn();
      const error: unknown = await made.catch((failure: unknown) => failure);
      assert.ok(error instanceof Rejection, 'the copy succeeded, or its error is no Rejection');
      const reason = isDisk ? 'DISK_NOT_FOUND' : 'SNAPSHOT_NOT_FOUND';
      assert.deepEqual([error.code, error.reason, error.metadata.name], ['NOT_FOUND', reason, name]);
      const { disks, snapshots } = await allIn(host);
      const left = [...disks, ...snapshots].map((one) => one.name);
      assert.deepEqual(left, isDisk ? [snapshot] : [diskName]);
      assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    },
  );
}

/** Gives the set another key and rewraps its disk and snapshot; only set one has any. @returns the key */
const moveTo = async (host: DiskHost, set: string) => {
  await host.rotate(set);
  const key = host.keyOf(set);
  const { generation, keyVersion, principal } = key;
  await host.asSets.beginGeneration({ diskEncryptionSet: set, generation, keyVersion, principal });
  if (set === setName) {
    for (const name of [diskName, snapshot])
      await rewrapDek(host.asSets, { name, generation, targetKeyVersion: keyVersion });
  }
  return key;
};

for (const copy of copies.filter((one) => !isChange(one))) {
  test(
    `G1, CMK-110: ${copy.what} fails if its source was rewrapped meanwhile and the new key is lost, though the earlier one is not`,
    limit,
    async (t) => {
      const { host, goOn, made } = await midway(t, copy);
      const { keyVersion } = await moveTo(host, setName);
      await tellLoss(host, { set: setName, keyVersion, reason: 'KEY_DISABLED', accessEpoch: 5 });
      goOn();
      await assert.rejects(made, { code: 'FAILED_PRECONDITION', reason: 'KEY_DISABLED' });
      assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    },
  );
}

/** Key versions of the disks and snapshots under a set. */
const versionsUnder = async (host: DiskHost, set: string): Promise<ReadonlySet<string>> => {
  const { disks, snapshots } = await allIn(host);
  const isUnder = ({ encryption }: { readonly encryption?: Encryption | undefined }) =>
    encryption?.diskEncryptionSet === set;
  return new Set([...disks, ...snapshots].filter(isUnder).map(({ keyVersion }) => keyVersion));
};

/** Sets that can get another key meanwhile. During a change of encryption the disk itself is not rewrapped. */
const rotatable = (copy: Copy): readonly string[] =>
  isChange(copy) ? copy.needs.filter((set) => set === otherSetName) : copy.needs;

for (const copy of copies) {
  for (const set of rotatable(copy)) {
    const which = set === setName ? 'one' : 'two';
    test(
      `CMK-89, CMK-110: ${copy.what} succeeds if set ${which} moves to another key meanwhile and the earlier key is purged`,
      limit,
      async (t) => {
        const { host, goOn, made } = await midway(t, copy);
        const { keyVersion: earlier } = host.keyOf(set);
        const { keyVersion } = await moveTo(host, set);
        host.forgetKeysBefore(set);
        await tellLoss(host, { set, keyVersion: earlier, reason: 'KEY_PURGED', accessEpoch: 9 });
        goOn();
        await made;
        assert.ok(isDeepStrictEqual(await host.content(content.length), content));
        assert.deepEqual(host.volumeIds(), await host.volumesInUse());
        assert.deepEqual(await versionsUnder(host, set), new Set([keyVersion]));
      },
    );
    test(
      `CMK-86: ${copy.what} is under the key that set ${which} got meanwhile, although the earlier key still works`,
      limit,
      async (t) => {
        const { host, goOn, made } = await midway(t, copy);
        const { keyVersion } = await moveTo(host, set);
        goOn();
        await made;
        assert.ok(isDeepStrictEqual(await host.content(content.length), content));
        assert.deepEqual(await versionsUnder(host, set), new Set([keyVersion]));
      },
    );
  }
}

for (const copy of copies) {
  test(`CMK-110: ${copy.what} completes even if it takes longer than the deadline of its call`, limit, async (t) => {
    const { host, stored, goOn, made } = await midway(t, copy, 500);
    await assert.rejects(made, { code: 'DEADLINE_EXCEEDED' });
    const before = host.checks.length;
    goOn();
    await copy.make(host.disks);
    assert.ok(host.checks.length > before, 'the vault is called before the copy is recorded');
    assert.ok(isDeepStrictEqual(await host.content(content.length), content));
    assert.deepEqual(host.volumeIds(), await host.volumesInUse());
    assert.deepEqual(
      stored.filter((type) => type.endsWith('Failed')),
      [],
      'the first copy completed; none failed',
    );
  });
}
