import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '@interlock/runtime';
import { openDisk } from '../../testing/test-one-disk.ts';
import { setName } from '../test-disk-host.ts';
import { startLeaseHost } from './test-lease-host.ts';
import { refusal } from './test-vault.ts';

const count = 40;

/** Disks that are each attached to a machine, to be opened together. */
const prepare = async () => {
  let opened = 0;
  let slow: Clock | undefined;
  const beforeOpen = async (): Promise<void> => {
    opened += 1;
    await slow?.sleep(opened % 5);
  };
  const { host, clock, run, stop } = await startLeaseHost({}, { beforeOpen });
  const group = setName.slice(0, setName.lastIndexOf('/diskEncryptionSets/'));
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
  const disks = Array.from({ length: count }, (_, n) => {
    const machine = `${group}/virtualMachines/m${n}`;
    return { diskId: `d${n}`, name: `${group}/disks/d${n}`, virtualMachine: machine };
  });
  for (const { diskId, name, virtualMachine } of disks) {
    const request = { parent: group, diskId, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption } as const;
    await run(host.disks.createDisk(request));
    await run(host.disks.attachDisk({ name, virtualMachine, requestId: diskId }));
  }
  // Responses take time, as over a network, so requests made meanwhile are sent together.
  host.setDelay(10);
  // Files open at different times, as with threads.
  slow = clock;
  const before = { unwraps: host.unwraps(), calls: host.unwrapCalls(), checks: host.checks.length };
  return {
    stop,
    host,
    run,
    disks,
    open: () =>
      run(
        Promise.allSettled(
          disks.map(({ name, virtualMachine }) =>
            openDisk(host.disks, { name, virtualMachine }, { deadlineMs: 60_000 }),
          ),
        ),
      ),
    asked: () => ({
      unwraps: host.unwraps() - before.unwraps,
      calls: host.unwrapCalls() - before.calls,
      checks: host.checks.length - before.checks,
    }),
  };
};

test('opening many disks at once needs only a few access checks and a few unwrap calls', async () => {
  const { open, asked, stop } = await prepare();
  const opened = await open();
  assert.deepEqual(new Set(opened.map(({ status }) => status)), new Set(['fulfilled']));
  const { unwraps, calls, checks } = asked();
  assert.equal(unwraps, count, 'each has a DEK of its own');
  assert.ok(calls <= count / 4, `${calls} calls for ${count} disks`);
  assert.ok(checks <= count / 4, `${checks} questions for ${count} disks`);
  await stop();
});

test('the disks of one call share one access check and one unwrap call, and open although others are refused', async () => {
  const { host, run, disks, asked, stop } = await prepare();
  const wanted = disks.map(({ name, virtualMachine }) => ({ open: { name, virtualMachine } }));
  const [first, ...others] = wanted;
  assert.ok(first);
  const { name, virtualMachine } = first.open;
  const missing = { open: { name: `${name}-missing`, virtualMachine } };
  const elsewhere = { open: { name, virtualMachine: `${virtualMachine}-other` } };
  const { outcomes } = await run(host.disks.openDisks({ items: [missing, ...others, elsewhere] }));
  const words = outcomes.map(({ outcome }) => (outcome?.$case === 'refused' ? outcome.value.reason : outcome?.$case));
  assert.deepEqual(words, ['DISK_NOT_FOUND', ...others.map(() => 'opened'), 'DISK_NOT_ATTACHED']);
  assert.deepEqual(asked(), { unwraps: count - 1, calls: 1, checks: 1 });
  await stop();
});

test('CMK-106: if the vault refuses many disks at once, none opens, and each open gets its own error', async () => {
  const { host, open, stop } = await prepare();
  host.setVault(refusal('KEY_DISABLED', 5));
  const opened = await open();
  for (const [n, one] of opened.entries()) {
    assert.equal(one.status === 'rejected' && one.reason.reason, 'KEY_DISABLED');
    assert.match(one.status === 'rejected' ? one.reason.metadata.disk : '', new RegExp(`/disks/d${n}$`));
  }
  await stop();
});
