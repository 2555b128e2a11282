import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, type EventStore, memoryStore, Rejection, StoreUnavailable } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import { at, disk, running, vm, work } from '../vm/test-machine.ts';
import { nextRun } from './process.ts';
import { deleteMachine } from './stopping.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = { ...disk('os', 0, 'PREMIUM_SSD'), deleteWithVm: true };

/** The only disk of the fake disk service. Any owner may have created it. */
interface Found {
  readonly uniqueId: string;
  readonly createTime: Date;
  readonly attachEpoch: number;
  managedBy: string;
}

/**
 * A machine that is being deleted with its only disk.
 * @param afterDeletion runs after the first deletion of the disk, before its response
 */
const beginDeletion = async (afterDeletion: (put: (found: Found) => void) => Promise<void> = async () => {}) => {
  let found: Found | undefined = { uniqueId: 'own', createTime: new Date(at - 1), attachEpoch: 1, managedBy: vm };
  let deletions = 0;
  const put = (other: Found): void => {
    found = other;
  };
  const client = {
    async getDisk() {
      if (found === undefined) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no such disk');
      return { ...found, etag: found.uniqueId };
    },
    async detachDisk() {
      if (found?.managedBy === vm) found.managedBy = '';
    },
    async deleteDisk({ etag = '' }: { readonly etag?: string }) {
      if (found === undefined) return;
      if (etag !== '' && etag !== found.uniqueId) throw new Rejection('ABORTED', 'ETAG_MISMATCH', 'another disk');
      found = undefined;
      deletions += 1;
      if (deletions === 1) await afterDeletion(put);
    },
  };
  const insist = async (call: (client: unknown, options: object) => Promise<unknown>): Promise<unknown> => {
    for (;;) {
      try {
        return await call(client, {});
      } catch (error) {
        if (error instanceof Rejection && !error.retryable()) throw error;
      }
    }
  };
  const store = memoryStore({ clock: systemClock });
  let failures = 0;
  const watched: EventStore = {
    ...store,
    async commit(commit, why) {
      const isEnd = (commit.appends ?? []).some(({ events }) => events.some(({ type }) => type === 'VmDeleted'));
      if (!isEnd || failures === 0) return store.commit(commit, why);
      failures -= 1;
      throw new StoreUnavailable('away for a moment');
    },
  };
  const vms = category(watched, virtualMachines);
  const begun = { type: 'VmDeleting', work: work('delete'), at } as const;
  const loaded = await vms.transact(vm, () => [...running([os]), begun], cause);
  const parts = {
    ...{ vms, disks: { insist } as unknown as Disks, guests: ownGuests(idleDriver()), losses: openLosses(watched) },
    ...{ clock: systemClock, random: systemRandom, measureStops: () => {}, startTimeoutMs: 0, guestStopTimeoutMs: 0 },
    isOurs: () => true,
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
  };
  const context = { signal: new AbortController().signal, settled: async () => {} };
  return {
    put,
    found: () => found,
    run: async () => nextRun(deleteMachine, parts, loaded)?.carryOut(context),
    failNextEnd: () => {
      failures += 1;
    },
    status: async () => (await vms.load(vm)).state.status,
  };
};

test('VM-17, CMK-131: a disk with deleteWithVm is deleted with its machine, also after an interruption', async () => {
  const once = await beginDeletion();
  await once.run();
  assert.deepEqual([once.found(), await once.status()], [undefined, 'deleted']);

  const twice = await beginDeletion();
  const own = twice.found();
  assert.ok(own);
  // An earlier run freed the disk and did nothing after that.
  own.managedBy = '';
  await twice.run();
  assert.deepEqual([twice.found(), await twice.status()], [undefined, 'deleted']);
});

for (const clock of ['as that of compute', 'behind that of compute'] as const) {
  test(`G5: a repeated deletion keeps a new disk of the same name, the clock of the disk service being ${clock}`, async () => {
    const machine = await beginDeletion();
    machine.failNextEnd();
    await assert.rejects(machine.run(), { name: 'StoreUnavailable' });
    const createTime = new Date(clock === 'as that of compute' ? at + 1 : at - 1);
    const other = { uniqueId: 'other', createTime, attachEpoch: 0, managedBy: '' };
    machine.put(other);
    await machine.run();
    assert.deepEqual([machine.found(), await machine.status()], [other, 'deleted']);
  });
}

test('G5: a deletion whose response was lost does not delete a new disk of the same name', async () => {
  const other = { uniqueId: 'other', createTime: new Date(at + 1), attachEpoch: 0, managedBy: '' };
  const machine = await beginDeletion(async (put) => {
    put(other);
    throw new Rejection('UNAVAILABLE', 'CONNECTION_LOST', 'the answer did not arrive');
  });
  await machine.run();
  assert.deepEqual([machine.found(), await machine.status()], [other, 'deleted']);
});
