import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import { itemError, type RpcClient } from '@interlock/rpc';
import fc from 'fast-check';
import { diskName, setName, startDiskHost } from '../../../disk/src/host/test-disk-host.ts';
import { FakeDiskService } from './test-disk-service.ts';

type Disks = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'attachDisk' | 'openDisks' | 'closeDisks' | 'detachDisk' | 'getDisk'
>;

interface Step {
  readonly method: 'attach' | 'open' | 'close' | 'deallocate' | 'detach';
  readonly machine: number;
  readonly request: number;
}

/** One call, as compute makes it. @throws Rejection */
const take = async (disks: Disks, { method, machine, request }: Step): Promise<void> => {
  const virtualMachine = `subscriptions/s/resourceGroups/g/virtualMachines/vm${machine}`;
  const requestId = `r${machine}${request}`;
  const name = diskName;
  if (method === 'attach') await disks.attachDisk({ name, virtualMachine, requestId });
  else if (method === 'detach') await disks.detachDisk({ name, virtualMachine, requestId });
  else if (method === 'open') {
    const { outcomes } = await disks.openDisks({ items: [{ open: { name, virtualMachine } }] });
    const outcome = outcomes[0]?.outcome;
    if (outcome?.$case === 'refused') throw itemError(outcome.value, { method: 'OpenDisks', peer: 'disk' });
  } else {
    const closing = { name, virtualMachine, deallocated: method === 'deallocate', attachEpoch: 0 };
    const { outcomes } = await disks.closeDisks({ closings: [closing] });
    const outcome = outcomes[0]?.outcome;
    if (outcome?.$case === 'refused') throw itemError(outcome.value, { method: 'CloseDisks', peer: 'disk' });
  }
};

/** What compute sees of the disk after a call, and why the call was refused. */
const seenAfter = async (disks: Disks, step: Step) => {
  const refused = await take(disks, step).then(
    () => '',
    (error: unknown) => (error instanceof Rejection ? error.reason : String(error)),
  );
  const { managedBy, state, attachEpoch } = await disks.getDisk({ name: diskName });
  return { refused, managedBy, state, attachEpoch };
};

test('the fake disk service attaches, opens, closes and detaches as the real one', async () => {
  const step = fc.record({
    method: fc.constantFrom('attach', 'open', 'close', 'deallocate', 'detach'),
    machine: fc.constantFrom(1, 2),
    request: fc.constantFrom(1, 2),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const host = await startDiskHost();
      const fake = new FakeDiskService(Date.now);
      try {
        const encryption = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: setName } as const;
        const [parent = '', diskId = ''] = diskName.split('/disks/');
        const request = { parent, diskId, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, encryption } as const;
        await host.disks.createDisk(request);
        fake.add(diskName, { set: setName });
        for (const one of steps) {
          const real = await seenAfter(host.disks, one);
          assert.deepEqual(await seenAfter(fake.client, one), real, JSON.stringify(one));
        }
      } finally {
        await host.stop();
      }
    }),
    { numRuns: 40 },
  );
});
