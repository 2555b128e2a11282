import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testNames as names, testSubscription } from '../cloud/test-names.ts';
import { attachDetachChanges, diskChangesOf } from './disk-changes.ts';

const group = 'subscriptions/dev/resourceGroups/g1';
const idOf = (disk: string) =>
  `/subscriptions/${testSubscription}/resourceGroups/G1/providers/Microsoft.Compute/disks/${disk}`;
const attached = (disk: string, lun: number) =>
  ({ disk: `${group}/disks/${disk}`, lun, deleteWithVm: false, sku: 'PREMIUM_SSD' }) as const;

test('VM-18: a disk that the body leaves out, or marks, is detached; a new one is attached; the others stay', () => {
  const current = [attached('a', 0), attached('b', 1), attached('c', 2)];
  const given = [
    { lun: 0, name: 'A' },
    { lun: 1, managedDisk: { id: idOf('b') }, toBeDetached: true },
    { lun: 3, createOption: 'Attach', managedDisk: { id: idOf('D') } },
  ];
  const { detach, attach } = diskChangesOf(names, current, given);
  assert.deepEqual(detach, [`${group}/disks/b`, `${group}/disks/c`]);
  assert.deepEqual(attach, [given[2]]);
  assert.deepEqual(
    diskChangesOf(names, current, [
      ...current.map(({ disk, lun }) => ({ lun, managedDisk: { id: idOf(disk.slice(-1)) } })),
    ]),
    {
      detach: [],
      attach: [],
    },
  );
});

test('a disk with another LUN is detached and attached again', () => {
  const { detach, attach } = diskChangesOf(names, [attached('a', 0)], [{ lun: 5, managedDisk: { id: idOf('a') } }]);
  assert.deepEqual([detach, attach.length], [[`${group}/disks/a`], 1]);
});

test('attachDetachDataDisks gives disks without a LUN the lowest that is free', () => {
  const changes = attachDetachChanges(names, [attached('a', 0), attached('b', 2)], {
    dataDisksToAttach: [{ diskId: idOf('c') }, { diskId: idOf('d'), lun: 3 }, { diskId: idOf('e') }],
    dataDisksToDetach: [{ diskId: idOf('b') }],
  });
  assert.deepEqual(
    changes.attach.map(({ lun }) => lun),
    [1, 3, 2],
  );
  assert.deepEqual(changes.detach, [`${group}/disks/b`]);
});
