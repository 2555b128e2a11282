import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { type Commit, category, type EventStore, memoryStore, Rejection } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { ownGuests } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { PlannedDisk } from '../vm/machine.ts';
import { created, creationFailed, diskKeyChanged, undoCreation } from '../vm/progress.ts';
import { stoppingLossOf } from '../vm/state.ts';
import { at, disk, lossOf, setOf, specFor, version1, version2, vm, work } from '../vm/test-machine.ts';
import { createMachine, undoneCreation } from './creation.ts';
import { nextRun } from './process.ts';

/** Does not wait for calls without a response, which may still be carried out. */
const clock = { ...systemClock, sleep: async () => {} };
const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const loss = lossOf('des', 9);

const failure = { operation: 'create', operationId: 'c', status: 'UNAVAILABLE', code: 'X', message: '', at } as const;
const typesOf = ({ appends = [] }: Commit): readonly string[] =>
  appends.flatMap(({ events }) => events.map(({ type }) => type));
const keyOf = { diskEncryptionSet: setOf('des'), keyVersion: version1, accessEpoch: 8 };
const opened = { ...keyOf, attachEpoch: 2, diskVersion: 1, sku: 'PREMIUM_SSD', principal: '' } as OpenDiskResponse;
const openedDisk = { disk: os.disk, sku: os.sku, set: setOf('des'), keyVersion: version1, accessEpoch: 8 };

/** A creation that has started, with its process. */
const beginCreation = async (watched: EventStore, disks: Disks, ...planned: readonly PlannedDisk[]) => {
  const of = planned.length === 0 ? [os] : planned;
  const vms = category(watched, virtualMachines);
  const begun = { type: 'VmCreationStarted', spec: specFor(of), disks: of, work: work('create', 'c'), at } as const;
  const loaded = await vms.transact(vm, () => [begun], cause);
  const { state } = loaded;
  assert.ok(state.status === 'creating');
  const losses = openLosses(watched);
  const parts = {
    ...{ vms, disks, guests: ownGuests(idleDriver()), losses, clock },
    isOurs: () => true,
    random: systemRandom,
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    measureStops: () => {},
    startTimeoutMs: Number.MAX_SAFE_INTEGER / 2,
    guestStopTimeoutMs: 0,
  };
  const context = { signal: new AbortController().signal, settled: async () => {} };
  return {
    vms,
    losses,
    run: () => nextRun(createMachine, parts, loaded)?.carryOut(context),
    /** Runs the undo in a process that knows only the stored state. */
    async runAnew() {
      const now = await vms.load(vm);
      assert.ok(now.state.status === 'creating');
      return nextRun(undoneCreation, parts, now)?.carryOut(context);
    },
  };
};

type Creation = Awaited<ReturnType<typeof beginCreation>>;

/** A disk service that records what is undone. Its disk belongs to this machine. */
const undoneIn = (undone: string[], open: Disks['open']): Disks => {
  const client = {
    async attachDisk() {},
    async getDisk() {
      return { managedBy: vm, provisioningState: 'SUCCEEDED' };
    },
    async detachDisk({ name, requestId }: { readonly name: string; readonly requestId: string }) {
      undone.push(`detach ${name} from ${requestId}`);
    },
  };
  const insist = (call: (client: unknown, options: object) => Promise<unknown>) => call(client, {});
  return { insist, open } as unknown as Disks;
};

test('G2: a loss stored between the last check of a creation and its commit stops the new machine', async () => {
  const store = memoryStore({ clock: systemClock });
  const watched: EventStore = {
    ...store,
    async commit(commit, why) {
      if (typesOf(commit).includes('VmCreated')) await openLosses(store).remember(loss, cause);
      return store.commit(commit, why);
    },
  };
  const { vms, run } = await beginCreation(
    watched,
    undoneIn([], async () => opened),
  );
  assert.equal(await run(), undefined, 'the step does not know the machine as it is then');
  const { state } = await vms.load(vm);
  assert.ok(state.status === 'active');
  assert.equal(state.power.state, 'stopping');
  assert.equal(stoppingLossOf(state)?.accessEpoch, loss.accessEpoch);
});

/** A creation whose disk is opened under version 1, while something else happens. */
const createMeanwhile = async (of: PlannedDisk, meanwhile: (creation: Creation) => Promise<void>) => {
  const store = memoryStore({ clock: systemClock });
  const creation = await beginCreation(
    store,
    undoneIn([], async () => {
      await meanwhile(creation);
      return opened;
    }),
    of,
  );
  await creation.run();
  const { state } = await creation.vms.load(vm);
  assert.ok(state.status === 'abandoned', state.status);
  const { code, loss: found } = state.failure;
  return [code, found?.disk, found?.keyVersion];
};

test('CMK-110, G2: a loss stored while a new disk is opened fails the creation, although no key of the disk was planned', async () => {
  const planned = { ...os, keyVersion: '' };
  const failed = await createMeanwhile(planned, ({ losses }) => losses.remember(loss, cause));
  assert.deepEqual(failed, ['KEY_DISABLED', os.disk, version1]);
});

test('CMK-110, CMK-112: a creation that fails because its disk moved to a lost version names the disk', async () => {
  const failed = await createMeanwhile(os, async ({ losses, vms }) => {
    const changed = { disk: os.disk, set: setOf('des'), keyVersion: version2, diskVersion: 2 };
    await vms.transact(vm, diskKeyChanged(at, changed), cause);
    for (const keyVersion of [version1, version2]) await losses.remember({ ...loss, keyVersion }, cause);
  });
  assert.deepEqual(failed, ['KEY_DISABLED', os.disk, version2]);
});

test('CMK-110, G5: a process that is refused does not undo a machine that another process created meanwhile', async () => {
  const store = memoryStore({ clock: systemClock });
  const undone: string[] = [];
  const { vms, run } = await beginCreation(
    store,
    undoneIn(undone, async () => {
      await vms.transact(vm, created(at, 'c', [{ ...openedDisk, attachEpoch: 1 }]), cause);
      throw new Rejection('FAILED_PRECONDITION', 'ATTACH_EPOCH_OUTDATED', 'another process opened it');
    }),
  );
  await run();
  assert.deepEqual(undone, []);
  assert.equal((await vms.load(vm)).state.status, 'active');
});

test('CMK-110: a replica that opens disks of a creation that another one gave up frees them, and no machine exists', async () => {
  const store = memoryStore({ clock: systemClock });
  const undone: string[] = [];
  const { vms, run } = await beginCreation(
    store,
    undoneIn(undone, async () => {
      await vms.transact(vm, undoCreation(at, 'c', failure), cause);
      await vms.transact(vm, creationFailed(at, 'c', failure), cause);
      return opened;
    }),
  );
  await run();
  assert.deepEqual(undone, [`detach ${os.disk} from c`]);
  assert.equal((await vms.load(vm)).state.status, 'abandoned');
});

test('CMK-110: the undo of a creation is stored before any of it is carried out', async () => {
  const store = memoryStore({ clock: systemClock });
  const steps: string[] = [];
  const watched: EventStore = {
    ...store,
    async commit(commit, why) {
      steps.push(...typesOf(commit));
      return store.commit(commit, why);
    },
  };
  const { vms, run } = await beginCreation(
    watched,
    undoneIn(steps, async () => {
      throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no');
    }),
  );
  await run();
  const detached = `detach ${os.disk} from c`;
  assert.deepEqual(steps, ['VmCreationStarted', 'VmCreationUndoing', detached, 'VmCreationFailed']);
  assert.equal((await vms.load(vm)).state.status, 'abandoned');
});

for (const owner of ['this machine', 'another owner'] as const) {
  test(`CMK-110, G5: an undo after a crash deletes a disk only if this machine created it (created by ${owner})`, async () => {
    const store = memoryStore({ clock: systemClock });
    const deleted: string[] = [];
    const client = {
      async createDisk() {
        if (owner === 'another owner') throw new Rejection('ALREADY_EXISTS', 'DISK_ALREADY_EXISTS', 'of another size');
        return { uniqueId: 'u' };
      },
      async getDisk() {
        // Free, and newer than the request for the machine: that alone does not show whose it is.
        return { managedBy: '', provisioningState: 'SUCCEEDED', createTime: new Date(at + 1), uniqueId: 'u' };
      },
      async detachDisk() {},
      async deleteDisk({ name }: { readonly name: string }) {
        deleted.push(name);
      },
    };
    const insist = (call: (client: unknown, options: object) => Promise<unknown>) => call(client, {});
    const made = { ...os, make: { sku: os.sku, sizeGib: 4, encryptionType: '', set: '' } };
    const { vms, runAnew } = await beginCreation(store, { insist } as unknown as Disks, made);
    await vms.transact(vm, undoCreation(at, 'c', failure), cause);
    await runAnew();
    assert.deepEqual(deleted, owner === 'this machine' ? [os.disk] : []);
    assert.equal((await vms.load(vm)).state.status, 'abandoned');
  });
}

/** The moment at which another owner creates a disk under the name of one that is being undone. */
for (const moment of ['its deletion, which is repeated', 'the look that found it', 'its making'] as const) {
  test(`G5: the undo of a creation keeps a disk of another owner that has the name since ${moment}`, async () => {
    const store = memoryStore({ clock: systemClock });
    const own = { uniqueId: 'own', managedBy: '' };
    const other = { uniqueId: 'other', managedBy: '' };
    let found: typeof own | undefined;
    const client = {
      async createDisk() {
        found ??= own;
        return found;
      },
      async attachDisk() {
        if (moment === 'its making') found = other;
        else own.managedBy = vm;
      },
      async getDisk() {
        if (found === undefined) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no such disk');
        return { ...found, provisioningState: 'SUCCEEDED', etag: found.uniqueId };
      },
      async detachDisk() {
        own.managedBy = '';
        // Another process has undone all of it meanwhile.
        if (moment === 'the look that found it') found = other;
      },
      async deleteDisk({ etag = '' }: { readonly etag?: string }) {
        if (etag !== '' && etag !== found?.uniqueId) throw new Rejection('ABORTED', 'ETAG_MISMATCH', 'another disk');
        found = found === own && moment === 'its deletion, which is repeated' ? other : undefined;
        if (found === other) throw new Rejection('UNAVAILABLE', 'CONNECTION_LOST', 'the answer did not arrive');
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
    const open = async (): Promise<never> => {
      throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no');
    };
    const made = { ...os, make: { sku: os.sku, sizeGib: 4, encryptionType: '', set: '' } };
    const { vms, run } = await beginCreation(store, { insist, open } as unknown as Disks, made);
    await run();
    assert.equal(found, other);
    assert.equal((await vms.load(vm)).state.status, 'abandoned');
  });
}

test('new data disks are made near the OS disk, and one under another set only once the OS disk is made', async () => {
  const making = (name: string, lun: number, set: string): PlannedDisk => ({
    ...disk(name, lun, 'PREMIUM_SSD', set),
    make: { sku: 'PREMIUM_SSD', sizeGib: 1, set: setOf(set), encryptionType: '' },
  });
  const [osDisk, same, other] = [{ ...making('os', 0, 'des'), isOs: true }, making('a', 1, 'des'), making('b', 2, 'o')];
  const requests: string[] = [];
  const osMade = Promise.withResolvers<void>();
  const othersSent = Promise.withResolvers<void>();
  const short = (name: string): string => name.split('/').at(-1) ?? '';
  const client = {
    async createDisk({ diskId, near }: { readonly diskId: string; readonly near: string }) {
      requests.push(`${diskId} near ${short(near)}`);
      if (requests.length === 2) othersSent.resolve();
      if (diskId === 'os') await osMade.promise;
      return { uniqueId: diskId };
    },
    async attachDisk() {},
  };
  const insist = (call: (client: unknown, options: object) => Promise<unknown>) => call(client, {});
  const disks = { insist, open: async () => opened } as unknown as Disks;
  const { run } = await beginCreation(memoryStore({ clock: systemClock }), disks, osDisk, same, other);
  const running = run();
  await othersSent.promise;
  assert.deepEqual(requests.toSorted(), ['a near os', 'os near ']);
  osMade.resolve();
  await running;
  assert.deepEqual(requests.at(-1), 'b near os');
});
