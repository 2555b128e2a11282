import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { category, memoryStore } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { idleDriver } from '../guests/idle-driver.ts';
import type { Disks } from '../processes/disks.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { at, disk, running, setOf, version1, vm, work } from '../vm/test-machine.ts';
import { openLosses } from './losses.ts';
import { LostDisks } from './lost-disks.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const madeAgain: readonly VmEvent[] = [
  { type: 'VmDeleting', work: work('delete'), at },
  { type: 'VmDeleted', at },
  ...running([os]).map((event) => ({ ...event, at: at + 1 })),
];

for (const meanwhile of ['nothing happens', 'another machine and disk come to have the names'] as const) {
  test(`G2, G3: a disk without data stops the machine it was asked about, where ${meanwhile}`, async () => {
    const store = memoryStore({ clock: systemClock });
    const vms = category(store, virtualMachines);
    await vms.transact(vm, () => running([os]), cause);
    const lost = { managedBy: vm, availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' } as const;
    const found = Disk.fromPartial({ name: os.disk, keyVersion: version1, ...lost });
    const client = {
      async getDisk() {
        if (meanwhile !== 'nothing happens') await vms.transact(vm, () => madeAgain, cause);
        return found;
      },
    };
    const disks: Partial<Disks> = {
      insist: ((call: (asked: unknown, options: object) => Promise<unknown>) => call(client, {})) as Disks['insist'],
      async *ofSet() {
        yield found;
      },
    };
    const lostDisks = new LostDisks({
      ...{ vms, disks: disks as Disks, driver: idleDriver(), losses: openLosses(store) },
      ...{ clock: systemClock, random: systemRandom, isOurs: () => true, begin: () => {}, measure: () => {} },
    });
    const patience = { signal: new AbortController().signal };
    const stopped = await lostDisks.stopUnder({ diskEncryptionSet: setOf('des') }, undefined, patience);
    const { state } = await vms.load(vm);
    const isAsked = meanwhile === 'nothing happens';
    assert.deepEqual(
      [stopped, state.status === 'active' && state.power.state],
      [isAsked ? 1 : 0, isAsked ? 'stopped' : 'running'],
    );
  });
}
