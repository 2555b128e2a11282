import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { diskName, startDiskHost } from './test-disk-host.ts';

const spec = {
  parent: 'subscriptions/s/resourceGroups/g',
  diskId: 'd',
  location: 'l',
  sku: 'PREMIUM_SSD',
  sizeGib: 1,
  encryption: { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' },
} as const;

test('a host that is cut off from its store cannot write once another host has taken over its volumes', {
  timeout: 180_000,
}, async (context) => {
  const host = await startDiskHost({ hostLeaseTtlMs: 1_000, leases: { ioPauseTimeoutMs: 300 } });
  // Hosts renew their lease for as long as they run, and keep the process alive with it.
  context.after(() => host.stop());
  await host.disks.createDisk(spec);
  const content = randomBytes(8_192);
  await host.fill(content);
  const old = await host.takenOver();
  for (const io of [() => old.write(randomBytes(8_192)), old.flush]) {
    await assert.rejects(io(), { reason: 'DISK_HOST_LEASE_OVER' });
  }
  // The new host takes over the access of the old one.
  await host.disks.endAccess({ name: diskName });
  assert.deepEqual(await host.content(content.length), content);

  old.reconnect();
  const isReplaced = async () => {
    const refused: unknown = await old.flush().catch((error: unknown) => error);
    assert.ok(refused instanceof Error && 'reason' in refused);
    return refused.reason === 'DISK_HOST_REPLACED';
  };
  while (!(await isReplaced())) await pause(10);
  await assert.rejects(old.write(randomBytes(8_192)), { reason: 'DISK_HOST_REPLACED' });
  await host.fill(content);
  assert.deepEqual(await host.content(content.length), content, 'only the new host writes');
});

const flushFailed = { code: 'DATA_LOSS', reason: 'FLUSH_FAILED' };

/** A disk that is open for writing. @returns a function that writes and flushes with that open, at whatever host */
const openForWriting = async (host: Awaited<ReturnType<typeof startDiskHost>>) => {
  await host.disks.createDisk(spec);
  const write = await host.writer();
  await write(randomBytes(8_192));
  return () => write(randomBytes(8_192));
};

test('G5: after the machine of the disk host has crashed, flushes of an open disk fail until it is reopened', async (context) => {
  const host = await startDiskHost();
  context.after(() => host.stop());
  const write = await openForWriting(host);
  await host.restart({ machine: 'this, after a boot' });
  await assert.rejects(write(), flushFailed);
  await host.restart({ machine: 'this, after a boot' });
  await assert.rejects(write(), flushFailed, 'also if the process was restarted before the first flush');
  await host.restart({ machine: 'this, after a boot', isClean: true });
  await assert.rejects(write(), flushFailed);
  await host.disks.endAccess({ name: diskName });
  const again = await host.writer();
  await again(randomBytes(8_192));
});

test('G5: a disk that is open stays usable when the process of its host is killed, and when a host stops cleanly', async (context) => {
  const host = await startDiskHost();
  context.after(() => host.stop());
  const write = await openForWriting(host);
  await host.restart();
  await write();
  await host.restart({ machine: 'other', isClean: true });
  await write();
  await host.restart({ machine: 'third', isClean: true });
  await write();
});

test('G5: a stop of the host is not clean if a flush of an open disk fails', async (context) => {
  let isFailing = false;
  const host = await startDiskHost({ flushFails: (part) => part === 'data' && isFailing });
  context.after(() => host.stop());
  const write = await openForWriting(host);
  isFailing = true;
  await host.restart({ machine: 'other', isClean: true });
  isFailing = false;
  await assert.rejects(write(), flushFailed);
});
