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
