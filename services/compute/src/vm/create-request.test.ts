import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initial } from './decider.ts';
import type { DiskSpec, VmSpec } from './machine.ts';
import { create } from './operations.ts';
import { ask, at, disk, diskOf, fold, setOf, specFor, stopped, vm, work } from './test-machine.ts';

const disks = [disk('os', 0, 'PREMIUM_SSD'), disk('data', 1, 'PREMIUM_SSD', 'des')];
const spec = specFor(disks);
const begin = (wanted: VmSpec) => create(ask('c'), wanted, disks)(initial);
/** The same name is requested again. */
const again = (first: VmSpec, wanted: VmSpec) => create(ask('c2'), wanted, disks)(fold(begin(first)));
const refused = (differs: string) => ({
  reason: 'VIRTUAL_MACHINE_ALREADY_EXISTS',
  metadata: { field: 'virtual_machine_id', name: vm, differs },
});

test('VM-10: a repeated create request has no effect; a different request for the same name is refused', () => {
  assert.deepEqual(begin(spec), [{ type: 'VmCreationStarted', spec, disks, work: work('create', 'c'), at }]);
  assert.deepEqual(again(spec, structuredClone(spec)), []);
  assert.deepEqual(create(ask('c2'), spec, disks)(fold(stopped(disks))), []);
  const differing: Readonly<Record<string, Partial<VmSpec>>> = {
    location: { location: 'x' },
    ultra_ssd_enabled: { ultraSsdEnabled: !spec.ultraSsdEnabled },
    guest: { guest: 'QEMU' },
    workload: { workload: { ...spec.workload, ioPerSecond: 11 } },
    os_disk: { disks: spec.disks.map((one) => (one.isOs ? { ...one, disk: diskOf('other') } : one)) },
    data_disks: { disks: spec.disks.filter(({ isOs }) => isOs) },
  };
  for (const [field, other] of Object.entries(differing)) {
    assert.throws(() => again(spec, { ...spec, ...other }), refused(field));
  }
});

test('VM-10: a request that differs in anything of a disk is another request', () => {
  const make = { sku: 'PREMIUM_SSD', sizeGib: 4, encryptionType: 'x', set: setOf('des') } as const;
  const [boot, ...others] = spec.disks.map((one) => ({ ...one, make }));
  assert.ok(boot);
  const specWith = (first: DiskSpec): VmSpec => ({ ...spec, disks: [first, ...others] });
  const { make: _make, ...existing } = boot;
  const differing: readonly DiskSpec[] = [
    { ...boot, lun: 9 },
    { ...boot, deleteWithVm: !boot.deleteWithVm },
    existing,
    { ...boot, make: { ...make, sku: 'ULTRA' } },
    { ...boot, make: { ...make, sizeGib: 5 } },
    { ...boot, make: { ...make, encryptionType: 'y' } },
    { ...boot, make: { ...make, set: setOf('other') } },
  ];
  for (const other of differing) assert.throws(() => again(specWith(boot), specWith(other)), refused('os_disk'));
});
