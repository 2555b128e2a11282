import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { resourceGroup } from './testing/test-cloud-disks.ts';
import { type DiskCloud, startDiskCloud, until } from './testing/test-disk-cloud.ts';
import { closeDisk, openDisk } from './testing/test-one-disk.ts';

let cloud: DiskCloud;
before(async () => {
  cloud = await startDiskCloud();
});
after(() => cloud.close());

const limit = { timeout: 180_000 };

/** The first bytes of a file, more than a test writes. Volumes are sparse, but have the size of their disk. */
const beginningOf = async (path: string): Promise<Buffer> => {
  const file = await openFile(path);
  try {
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(8 * 1024 * 1024) });
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
};

test('REST-17: creating a disk in a missing subscription fails, even for an administrator', limit, async () => {
  const parent = 'subscriptions/nowhere/resourceGroups/g';
  await assert.rejects(cloud.newDisk({ parent }), {
    code: 'NOT_FOUND',
    reason: 'SUBSCRIPTION_NOT_FOUND',
    metadata: { subscription: 'subscriptions/nowhere', tenant: 'tenants/main' },
  });
  await cloud.identity.createSubscription({ subscriptionId: 'nowhere', tenant: 'tenants/main' });
  assert.equal(
    (await cloud.newDisk({ parent })).provisioningState,
    'SUCCEEDED',
    'the missing subscription is not cached',
  );
});

test(
  'CMK-08, CMK-09, CMK-12, CMK-13, CMK-127: a machine reads back what it wrote, and files contain only ciphertext',
  limit,
  async () => {
    const set = await cloud.newSet();
    const disk = await cloud.newDisk({ set });
    assert.equal(disk.keyVersion, set.keyVersion);
    assert.equal(disk.state, 'UNATTACHED');
    const open = await cloud.openNew(disk.name);
    assert.equal(open.diskEncryptionSet, set.name);
    assert.equal(open.sizeBytes, 2 ** 30);
    const content = Buffer.alloc(3_000_000, 'a secret that must not be found ');
    assert.equal(
      await cloud.write(
        disk.name,
        open.accessToken,
        4_096,
        content.subarray(0, 2_000_000),
        content.subarray(2_000_000),
      ),
      3_000_000,
    );
    await cloud.flush(disk.name, open.accessToken);
    assert.deepEqual(await cloud.read(disk.name, open.accessToken, 4_096, content.length), content);
    assert.deepEqual(await cloud.read(disk.name, open.accessToken, 5_000, 3), content.subarray(904, 907));
    for (const file of await cloud.volumeFiles()) {
      const bytes = await beginningOf(join(cloud.folder, file));
      assert.ok(!bytes.includes('a secret that must not be found'), file);
    }
    const dump = JSON.stringify(
      await cloud.database.sql`select data::text || meta::text from events union all select row::text from rows`,
    );
    assert.ok(!dump.includes(open.accessToken) && !cloud.log.join('').includes(open.accessToken));
  },
);

test('CMK-07, CMK-11: only the identity of the set calls the vault', limit, async () => {
  const set = await cloud.newSet();
  const disk = await cloud.newDisk({ set });
  assert.equal((await cloud.openNew(disk.name)).principal, set.principal, 'the open returns the principal');
  const { auditEntries } = await cloud.vault.listAuditEntries({ parent: set.vault });
  const uses = auditEntries.filter(({ operation }) => /Wrap|Unwrap/.test(operation));
  assert.ok(uses.some(({ operation, resource }) => /KeyWrap/.test(operation) && resource === disk.name));
  assert.ok(uses.some(({ operation, resource }) => /KeyUnwrap/.test(operation) && resource === disk.name));
  assert.ok(uses.every(({ caller }) => caller === set.principal));
});

test('CMK-06, CMK-110: without the grant a disk is not created, and nothing is left of it', limit, async () => {
  const before = await cloud.volumeFiles();
  const set = await cloud.newSet({ withoutGrant: true });
  const request = { set, diskId: 'ungranted' };
  await assert.rejects(
    cloud.newDisk(request),
    (error: { code: string; reason: string; metadata: Record<string, string> }) => {
      assert.equal(error.code, 'PERMISSION_DENIED');
      assert.equal(error.reason, 'ACCESS_DENIED');
      assert.equal(error.metadata.disk_encryption_set, set.name);
      assert.equal(error.metadata.key_version, set.keyVersion);
      return true;
    },
  );
  assert.deepEqual(await cloud.volumeFiles(), before);
  await assert.rejects(cloud.disks.getDisk({ name: `${resourceGroup}/disks/ungranted` }), { reason: 'DISK_NOT_FOUND' });
  await cloud.vault.setAccessPolicy({
    name: set.vault,
    accessPolicy: { principal: set.principal, keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] },
  });
  assert.equal((await cloud.newDisk(request)).provisioningState, 'SUCCEEDED');
});

test(
  'a repeated create request returns the same disk, and a different request with its id is refused',
  limit,
  async () => {
    const request = {
      parent: resourceGroup,
      diskId: 'twice',
      location: 'westeurope',
      sku: 'STANDARD_HDD',
      sizeGib: 1,
    } as const;
    const disk = await cloud.disks.createDisk(request);
    assert.deepEqual(await cloud.disks.createDisk(request), disk);
    await assert.rejects(cloud.disks.createDisk({ ...request, sizeGib: 2 }), {
      code: 'ALREADY_EXISTS',
      reason: 'DISK_ALREADY_EXISTS',
    });
    assert.equal(disk.encryption?.type, 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', 'CMK-17');
    assert.equal(disk.keyVersion, '');
  },
);

test(
  'CMK-100, CMK-101, CMK-111, CMK-112: a disabled version ends reads and writes under it, and nothing else',
  limit,
  async () => {
    const [lost, other] = [await cloud.newSet(), await cloud.newSet()];
    const [disk, spared, platform] = [
      await cloud.newDisk({ set: lost }),
      await cloud.newDisk({ set: other }),
      await cloud.newDisk(),
    ];
    const [open, openSpared, openPlatform] = [
      await cloud.openNew(disk.name),
      await cloud.openNew(spared.name),
      await cloud.openNew(platform.name),
    ];
    const content = randomBytes(8_192);
    await cloud.write(disk.name, open.accessToken, 0, content);
    const ofDisk = (sourceDisk: string) =>
      cloud.disks.createSnapshot({ parent: resourceGroup, snapshotId: `s-${randomUUID()}`, sourceDisk });
    const [taken, takenElsewhere] = [await ofDisk(disk.name), await ofDisk(platform.name)];
    assert.deepEqual([taken.availability, takenElsewhere.availability], ['AVAILABLE', 'AVAILABLE']);

    await cloud.vault.disableKeyVersion({ name: lost.keyVersion });
    await until(async () => (await cloud.disks.getDisk({ name: disk.name })).availability === 'UNAVAILABLE');
    const shown = await cloud.disks.getDisk({ name: disk.name });
    assert.equal(shown.unavailableReason, 'KEY_DISABLED');
    assert.ok(shown.unavailableSince);
    const { snapshots } = await cloud.disks.listSnapshots({ diskEncryptionSet: lost.name });
    for (const snapshot of [await cloud.disks.getSnapshot({ name: taken.name }), ...snapshots]) {
      const { availability, unavailableReason, unavailableSince } = snapshot;
      assert.deepEqual(
        [availability, unavailableReason, unavailableSince],
        ['UNAVAILABLE', shown.unavailableReason, shown.unavailableSince],
      );
    }
    assert.equal(snapshots.length, 1);
    assert.equal((await cloud.disks.getSnapshot({ name: takenElsewhere.name })).availability, 'AVAILABLE');
    await assert.rejects(
      cloud.read(disk.name, open.accessToken, 0, 4_096),
      (error: { code: string; reason: string; metadata: Record<string, string> }) => {
        assert.equal(error.code, 'FAILED_PRECONDITION');
        assert.equal(error.reason, 'KEY_DISABLED');
        assert.equal(error.metadata.disk, disk.name);
        assert.equal(error.metadata.disk_encryption_set, lost.name);
        assert.equal(error.metadata.key_version, lost.keyVersion);
        return true;
      },
    );
    await assert.rejects(cloud.write(disk.name, open.accessToken, 0, content), { reason: 'KEY_DISABLED' });
    await cloud.flush(disk.name, open.accessToken);
    await cloud.read(spared.name, openSpared.accessToken, 0, 4_096);
    await cloud.read(platform.name, openPlatform.accessToken, 0, 4_096);

    // CMK-106, CMK-110: nothing that needs the key works, and CMK-109: the rest does.
    const { virtualMachine } = open;
    await assert.rejects(openDisk(cloud.compute, { name: disk.name, virtualMachine }), { reason: 'KEY_DISABLED' });
    await assert.rejects(cloud.newDisk({ set: lost }), { reason: 'KEY_DISABLED' });
    const snapshot = { parent: resourceGroup, snapshotId: 's-lost', sourceDisk: disk.name };
    await assert.rejects(cloud.disks.createSnapshot(snapshot), { reason: 'KEY_DISABLED' });
    assert.equal((await cloud.disks.listDisks({ diskEncryptionSet: lost.name })).disks.length, 1);
    const unavailable = async (filter: { diskEncryptionSet?: string; parent?: string }): Promise<readonly string[]> =>
      (await cloud.disks.listDisks({ ...filter, unavailableOnly: true })).disks.map(({ name }) => name);
    assert.deepEqual(await unavailable({ diskEncryptionSet: lost.name }), [disk.name]);
    assert.deepEqual(await unavailable({ diskEncryptionSet: other.name }), []);
    const lostAnywhere = await unavailable({ parent: resourceGroup });
    assert.ok(lostAnywhere.includes(disk.name) && !lostAnywhere.includes(spared.name));

    // CMK-120, CMK-127: enabled again, the same open reads the same bytes.
    await cloud.vault.enableKeyVersion({ name: lost.keyVersion });
    await until(async () => (await cloud.disks.getDisk({ name: disk.name })).availability === 'AVAILABLE');
    assert.deepEqual(await unavailable({ diskEncryptionSet: lost.name }), []);
    const back = await cloud.disks.getSnapshot({ name: taken.name });
    assert.deepEqual([back.availability, back.unavailableSince], ['AVAILABLE', undefined]);
    assert.deepEqual(await cloud.read(disk.name, open.accessToken, 0, content.length), content);
  },
);

test('CMK-105: a refusal of the vault ends access at once, without any event', limit, async () => {
  const set = await cloud.newSet();
  const [disk, second] = [await cloud.newDisk({ set }), await cloud.newDisk({ set })];
  const open = await cloud.openNew(disk.name);
  await cloud.read(disk.name, open.accessToken, 0, 4_096);
  await cloud.stop('disk-encryption-set');
  await cloud.vault.removeAccessPolicy({ name: set.vault, principal: set.principal });
  await assert.rejects(cloud.openNew(second.name), { reason: 'ACCESS_DENIED' });
  await assert.rejects(cloud.read(disk.name, open.accessToken, 0, 4_096), {
    code: 'PERMISSION_DENIED',
    reason: 'ACCESS_DENIED',
  });
  await cloud.start('disk-encryption-set');
});

test('CMK-102: an ultra disk of a running machine is pinned through a loss until it is closed', limit, async () => {
  const set = await cloud.newSet();
  const disk = await cloud.newDisk({ set, sku: 'ULTRA' });
  const open = await cloud.openNew(disk.name);
  const content = randomBytes(4_096);
  await cloud.write(disk.name, open.accessToken, 0, content);
  await cloud.vault.disableKeyVersion({ name: set.keyVersion });
  await until(async () => (await cloud.disks.getDisk({ name: disk.name })).availability === 'LEASE_PINNED');
  assert.deepEqual(await cloud.read(disk.name, open.accessToken, 0, 4_096), content);
  await cloud.write(disk.name, open.accessToken, 4_096, content);
  await cloud.flush(disk.name, open.accessToken);
  const snapshot = { parent: resourceGroup, snapshotId: 's-pinned', sourceDisk: disk.name, incremental: true };
  await assert.rejects(cloud.disks.createSnapshot(snapshot), { reason: 'KEY_DISABLED' });

  const { virtualMachine, attachEpoch } = open;
  const closed = await closeDisk(cloud.compute, { name: disk.name, virtualMachine, deallocated: true, attachEpoch });
  assert.equal(closed.state, 'RESERVED');
  assert.equal(closed.availability, 'UNAVAILABLE');
  await assert.rejects(cloud.read(disk.name, open.accessToken, 0, 4_096), { reason: 'ATTACH_EPOCH_OUTDATED' });
  await assert.rejects(openDisk(cloud.compute, { name: disk.name, virtualMachine }), { reason: 'KEY_DISABLED' });
});

test('CMK-102: a restarted host has no DEK, so its ultra disk under a lost key is unavailable', limit, async () => {
  const set = await cloud.newSet();
  const disk = await cloud.newDisk({ set, sku: 'ULTRA' });
  const open = await cloud.openNew(disk.name);
  await cloud.vault.disableKeyVersion({ name: set.keyVersion });
  await until(async () => (await cloud.disks.getDisk({ name: disk.name })).availability === 'LEASE_PINNED');
  await cloud.restartDisk();
  // The vault refuses the first read; a loss that was not stored before the restart is known from then on.
  await assert.rejects(cloud.read(disk.name, open.accessToken, 0, 4_096), { reason: 'KEY_DISABLED' });
  await until(async () => (await cloud.disks.getDisk({ name: disk.name })).availability === 'UNAVAILABLE');
});

test('an open survives a restart of the service, which fetches the DEK with the first read', limit, async () => {
  const set = await cloud.newSet();
  const disk = await cloud.newDisk({ set });
  const open = await cloud.openNew(disk.name);
  const content = randomBytes(10_000);
  await cloud.write(disk.name, open.accessToken, 100, content);
  await cloud.flush(disk.name, open.accessToken);
  await cloud.restartDisk();
  assert.deepEqual(await cloud.read(disk.name, open.accessToken, 100, content.length), content);
});

test(
  'CMK-08: one call opens disks of several machines, each with its own cause, and a refusal affects only its disk',
  limit,
  async () => {
    const set = await cloud.newSet();
    const [disk, other] = [await cloud.newDisk({ set }), await cloud.newDisk({ set })];
    const [open, otherOpen] = [await cloud.openNew(disk.name), await cloud.openNew(other.name)];
    const traceparent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
    const { outcomes } = await cloud.compute.openDisks({
      items: [
        {
          open: { name: disk.name, virtualMachine: open.virtualMachine },
          origin: { correlationId: 'start-1', traceparent },
        },
        { open: { name: other.name, virtualMachine: open.virtualMachine } },
        { open: { name: other.name, virtualMachine: otherOpen.virtualMachine } },
      ],
    });
    assert.deepEqual(
      outcomes.map(({ outcome }) => (outcome?.$case === 'refused' ? outcome.value.reason : outcome?.$case)),
      ['opened', 'DISK_NOT_ATTACHED', 'opened'],
    );
    const [first] = outcomes;
    assert.ok(first?.outcome?.$case === 'opened');
    await cloud.read(disk.name, first.outcome.value.accessToken, 0, 4_096);
    const [event] = await cloud.database.sql<{ meta: { correlationId: string; traceparent: string } }[]>`
    select meta from events where stream = ${`disk-${disk.name}`} and type = 'DiskOpened' order by version desc limit 1`;
    assert.equal(event?.meta.correlationId, 'start-1');
    assert.equal(event?.meta.traceparent, traceparent);
    await assert.rejects(cloud.compute.openDisks({ items: [] }), { reason: 'BATCH_SIZE_INVALID' });
  },
);

test('only the token of the newest open is accepted', limit, async () => {
  const disk = await cloud.newDisk();
  const first = await cloud.openNew(disk.name);
  const second = await openDisk(cloud.compute, { name: disk.name, virtualMachine: first.virtualMachine });
  assert.equal(second.attachEpoch, first.attachEpoch + 1);
  await cloud.write(disk.name, second.accessToken, 0, Buffer.alloc(10));
  await assert.rejects(cloud.write(disk.name, first.accessToken, 0, Buffer.alloc(10)), {
    reason: 'ATTACH_EPOCH_OUTDATED',
  });
  await assert.rejects(cloud.read(disk.name, 'nonsense', 0, 1), {
    code: 'UNAUTHENTICATED',
    reason: 'DISK_ACCESS_TOKEN_INVALID',
  });
  const forged = `${second.attachEpoch}.${'A'.repeat(43)}`;
  await assert.rejects(cloud.read(disk.name, forged, 0, 1), { reason: 'DISK_ACCESS_TOKEN_INVALID' });
  await assert.rejects(
    async () => {
      for await (const _piece of cloud.data.read({ name: disk.name, offsetBytes: 0, lengthBytes: 1 }))
        assert.fail('it was read');
    },
    { reason: 'DISK_ACCESS_TOKEN_MISSING' },
  );
});

test('a direct access ends when its principal is deleted or loses its role', limit, async () => {
  const disk = await cloud.newDisk();
  const begin = async () => {
    const principalId = randomUUID();
    const request = { principalId, tenant: 'tenants/main', type: 'USER', displayName: 'reader' } as const;
    const { name: principal } = await cloud.identity.createPrincipal(request);
    const { secretText: secret } = await cloud.identity.addSecret({ principal, secretId: 'one' });
    const role = { principal, role: 'roles/contributor', scope: resourceGroup };
    const { name } = await cloud.identity.createRoleAssignment({ roleAssignmentId: randomUUID(), ...role });
    const user = cloud.userAs({ id: principalId, secret });
    const access = { name: disk.name, accessLevel: 'WRITE', durationSeconds: 3_600 } as const;
    const { accessToken } = await user.beginAccess(access);
    await cloud.write(disk.name, accessToken, 0, Buffer.alloc(10));
    return { principal, assignment: name, accessToken };
  };
  const deleted = await begin();
  await cloud.identity.deletePrincipal({ name: deleted.principal });
  await assert.rejects(cloud.read(disk.name, deleted.accessToken, 0, 10), { reason: 'PRINCIPAL_DELETED' });
  assert.equal((await cloud.disks.getDisk({ name: disk.name })).state, 'UNATTACHED');
  await assert.rejects(cloud.read(disk.name, deleted.accessToken, 0, 10), { reason: 'ATTACH_EPOCH_OUTDATED' });

  const demoted = await begin();
  await cloud.identity.deleteRoleAssignment({ name: demoted.assignment });
  await assert.rejects(cloud.write(disk.name, demoted.accessToken, 0, Buffer.alloc(10)), { reason: 'ACCESS_DENIED' });
  assert.equal((await cloud.disks.getDisk({ name: disk.name })).state, 'UNATTACHED');
});

test(
  'while the vault is unreachable, open disks can be read, closed and deleted, and a new open fails as retryable',
  limit,
  async () => {
    const set = await cloud.newSet();
    const [disk, other] = [await cloud.newDisk({ set }), await cloud.newDisk({ set })];
    const open = await cloud.openNew(disk.name);
    await cloud.stop('key-vault');
    await assert.rejects(cloud.openNew(other.name), { code: 'UNAVAILABLE', reason: 'KEY_VAULT_UNREACHABLE' });
    await cloud.read(disk.name, open.accessToken, 0, 4_096);
    const { virtualMachine } = open;
    const missing = `${resourceGroup}/disks/missing`;
    const { outcomes } = await cloud.compute.closeDisks({
      closings: [
        { name: disk.name, virtualMachine },
        { name: missing, virtualMachine },
      ],
    });
    assert.deepEqual(
      outcomes.map(({ outcome }) => (outcome?.$case === 'refused' ? outcome.value.reason : outcome?.$case)),
      ['closed', 'DISK_NOT_FOUND'],
    );
    assert.equal((await cloud.compute.getDisk({ name: disk.name })).state, 'ATTACHED');
    await assert.rejects(cloud.compute.closeDisks({ closings: [] }), { reason: 'BATCH_SIZE_INVALID' });
    assert.equal((await cloud.compute.detachDisk({ name: disk.name, virtualMachine })).state, 'UNATTACHED');
    await cloud.disks.deleteDisk({ name: disk.name });
    await cloud.start('key-vault');
  },
);

test('VM-27: a grown disk keeps its content and reads zeros beyond it, and a disk cannot shrink', limit, async () => {
  const disk = await cloud.newDisk({ set: await cloud.newSet() });
  const { accessToken } = await cloud.openNew(disk.name);
  const end = 2 ** 30;
  await cloud.write(disk.name, accessToken, end - 4, Buffer.from('last'));
  const grown = await cloud.disks.growDisk({ name: disk.name, sizeGib: 3 });
  assert.equal(grown.sizeGib, 3);
  assert.deepEqual(await cloud.read(disk.name, accessToken, end - 4, 8), Buffer.from('last\0\0\0\0'));
  await cloud.write(disk.name, accessToken, 3 * end - 4, Buffer.from('more'));
  await assert.rejects(cloud.disks.growDisk({ name: disk.name, sizeGib: 2 }), { reason: 'DISK_CANNOT_SHRINK' });
  await assert.rejects(cloud.disks.growDisk({ name: disk.name, sizeGib: 4, etag: '1' }), { reason: 'ETAG_MISMATCH' });
  assert.equal((await cloud.disks.getDisk({ name: disk.name })).sizeGib, 3);
});

test('reads and writes outside the disk are refused', limit, async () => {
  const disk = await cloud.newDisk();
  const { accessToken: token } = await cloud.openNew(disk.name);
  const end = 2 ** 30;
  await assert.rejects(cloud.read(disk.name, token, end - 1, 2), {
    code: 'OUT_OF_RANGE',
    reason: 'BEYOND_END_OF_DISK',
  });
  await assert.rejects(cloud.read(disk.name, token, 0, 0), { reason: 'LENGTH_INVALID' });
  await assert.rejects(cloud.write(disk.name, token, end - 1, Buffer.alloc(2)), { reason: 'BEYOND_END_OF_DISK' });
  await assert.rejects(cloud.write(disk.name, token, -1, Buffer.alloc(2)), { reason: 'OFFSET_INVALID' });
  await cloud.write(disk.name, token, end - 2, Buffer.from('ok'));
  assert.equal((await cloud.read(disk.name, token, end - 2, 2)).toString(), 'ok');
});
