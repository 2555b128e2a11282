import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { at, disk, running, vm, work } from '../vm/test-machine.ts';
import { nextProcess } from './table.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD');
const extra = disk('extra', 1, 'PREMIUM_SSD');
/** A disk that a stop left half attached, and that is not free yet. */
const cutOff: readonly VmEvent[] = [
  ...running([os]),
  { type: 'DiskAttaching', disk: extra, work: { ...work('attach', 'a'), disk: extra.disk }, at },
  { type: 'VmStopping', work: work('keyStop', 'k'), at },
  { type: 'VmStopped', at },
];
const detach = { ...work('detach', 'd'), disk: extra.disk };
const endings = {
  detached: { begun: { type: 'DiskDetaching', disk: extra.disk, work: detach, at } },
  'deleted with its machine': { begun: { type: 'VmDeleting', work: work('delete', 'd'), at } },
} as const;

for (const [ending, { begun }] of Object.entries(endings)) {
  test(`CMK-110, G5: freeing a half-attached disk that is ${ending} also revokes its attach request`, async () => {
    const freed: string[] = [];
    const client = {
      async detachDisk({ name, requestId }: { readonly name: string; readonly requestId: string }) {
        freed.push(`${name} from ${requestId}`);
      },
    };
    const insist = (call: (client: unknown, options: object) => Promise<unknown>) => call(client, {});
    const store = memoryStore({ clock: systemClock });
    const vms = category(store, virtualMachines);
    const loaded = await vms.transact(vm, () => [...cutOff, begun], cause);
    const parts = {
      ...{ vms, disks: { insist } as unknown as Disks, guests: ownGuests(idleDriver()), losses: openLosses(store) },
      ...{ clock: systemClock, random: systemRandom, measureStops: () => {}, startTimeoutMs: 0, guestStopTimeoutMs: 0 },
      isOurs: () => true,
      log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    };
    const context = { signal: new AbortController().signal, settled: async () => {} };
    await nextProcess(parts, loaded)?.carryOut(context);
    assert.ok(freed.includes(`${extra.disk} from a`), freed.join());
  });
}
