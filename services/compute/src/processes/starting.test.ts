import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { type Category, category, type EventStore, memoryStore, Rejection } from '@interlock/event-store';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import type { Disks } from '../disk-service/disks.ts';
import { type Guests, HostAway, ownGuests, PlacementOutdated } from '../guests/guests.ts';
import { idleDriver } from '../guests/idle-driver.ts';
import type { VmHost } from '../guests/vm-host.ts';
import { openLosses } from '../losses/losses.ts';
import { virtualMachines } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import { diskKeyChanged, startFailed } from '../vm/progress.ts';
import { stoppingLossOf, type Vm } from '../vm/state.ts';
import { at, disk, lossOf, setOf, stopped, version1, version2, vm, work } from '../vm/test-machine.ts';
import { nextRun } from './process.ts';
import { startMachine } from './starting.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const os = disk('os', 0, 'PREMIUM_SSD', 'des');
const loss = lossOf('des', 9);

/** What happens before the response to the open. */
type Meanwhile = (losses: ReturnType<typeof openLosses>, vms: Category<Vm, VmEvent>) => Promise<void>;

/** A disk of the same set, but under its next version. */
const data = { ...disk('data', 1, 'PREMIUM_SSD', 'des'), keyVersion: version2 };

/**
 * Starts a machine whose disks are unwrapped at epoch 8.
 * @param isOurs whether the replica still owns the machine's work partition
 */
const start = async (
  driver: VmHost | Guests,
  meanwhile: Meanwhile,
  { isOurs = true, disks: planned = [os], startTimeoutMs = 60_000 } = {},
) => {
  const store = memoryStore({ clock: systemClock });
  const commits: (readonly string[])[] = [];
  const measured: string[] = [];
  const watched: EventStore = {
    ...store,
    commit: (commit, why) => {
      commits.push((commit.appends ?? []).flatMap(({ events }) => events.map(({ type }) => type)));
      return store.commit(commit, why);
    },
  };
  const vms = category(watched, virtualMachines);
  const losses = openLosses(watched);
  const begun = { type: 'VmStarting', work: work('start'), from: 'stopped', at } as const;
  const loaded = await vms.transact(vm, () => [...stopped(planned), begun], cause);
  const { state } = loaded;
  assert.ok(state.status === 'active' && state.power.work);
  const opens: (number | undefined)[] = [];
  let closes = 0;
  const disks: Partial<Disks> = {
    async open({ name, attachEpochBefore }) {
      opens.push(attachEpochBefore);
      await meanwhile(losses, vms);
      const keyVersion = planned.find((one) => one.disk === name)?.keyVersion;
      const keyOf = { diskEncryptionSet: setOf('des'), keyVersion, accessEpoch: 8 };
      return { ...keyOf, attachEpoch: 2, diskVersion: 1, sku: 'PREMIUM_SSD', principal: '' } as OpenDiskResponse;
    },
    async insist() {
      closes += 1;
      return undefined as never;
    },
  };
  const parts = {
    ...{
      vms,
      disks: disks as Disks,
      guests: 'choose' in driver ? driver : ownGuests(driver),
      losses,
      clock: systemClock,
      random: systemRandom,
      isOurs: () => isOurs,
    },
    log: logger({ service: 'test', clock: systemClock, write: () => {} }),
    measureStops: (events: readonly VmEvent[]) => void measured.push(...events.map(({ type }) => type)),
    startTimeoutMs,
    guestStopTimeoutMs: 0,
  };
  commits.length = 0;
  const context = { signal: new AbortController().signal, settled: async () => {} };
  let failure: unknown;
  const run = nextRun(startMachine, parts, loaded);
  assert.ok(run);
  const known = await run.carryOut(context).catch((error: unknown) => {
    failure = error;
    return undefined;
  });
  const after = await vms.load(vm);
  const power = after.state.status === 'active' ? after.state.power.state : undefined;
  return { commits, measured, known, failure, opens, closes, after, power };
};

const withGuests: VmHost = { ...idleDriver(), hasGuests: true };
const lost = (losses: ReturnType<typeof openLosses>) => losses.remember(loss, cause);

test('VM-11: a machine runs once its guest is up; without guests, once its disks are open', async () => {
  const guest = await start(withGuests, async () => {});
  assert.deepEqual(guest.commits, [['DisksOpened'], ['VmStarted']]);
  const idle = await start(idleDriver(), async () => {});
  assert.deepEqual(idle.commits, [['DisksOpened', 'VmStarted']]);
  for (const { known, after, power } of [guest, idle]) {
    assert.equal(power, 'running');
    assert.deepEqual({ ...known, ...after }, known, 'the step knows the machine as it is then');
  }
});

test('G2: a loss stored while disks are opened stops the machine in the same run, with or without guests', async () => {
  const guest = await start(withGuests, lost);
  assert.equal(guest.power, 'stopping');
  assert.ok(!guest.commits.flat().includes('VmStarted'));
  const idle = await start(idleDriver(), lost);
  assert.equal(idle.power, 'stopped');
  assert.deepEqual(idle.measured, ['VmStopping', 'VmStopped'], 'it is measured like the others that the loss stopped');
  for (const { known, after } of [guest, idle]) {
    assert.equal(known, undefined);
    assert.equal(after.state.status === 'active' && stoppingLossOf(after.state)?.accessEpoch, loss.accessEpoch);
  }
});

/** While the open waits for its response, the disk moves to version 2, and then `keyVersion` is lost. */
const moved =
  (keyVersion: string): Meanwhile =>
  async (losses, vms) => {
    const changed = { disk: os.disk, set: setOf('des'), keyVersion: version2, diskVersion: 2 };
    await vms.transact(vm, diskKeyChanged(at, changed), cause);
    await losses.remember({ ...loss, keyVersion }, cause);
  };

test('G3, CMK-112: the loss of a version that a disk left during its open stops nothing', async () => {
  for (const driver of [withGuests, idleDriver()]) {
    assert.equal((await start(driver, moved(version1))).power, 'running');
  }
});

test('G2, CMK-112: the loss of a version to which a disk moved during its open stops the machine', async () => {
  const { after, power } = await start(withGuests, moved(version2));
  assert.equal(power, 'stopping');
  assert.equal(after.state.status === 'active' && stoppingLossOf(after.state)?.keyVersion, version2);
  assert.equal((await start(idleDriver(), moved(version2))).power, 'stopped');
});

test('CMK-112, VM-50: a loss found after the opens blocks only the disks under its version', async () => {
  const { after } = await start(withGuests, lost, { disks: [os, data] });
  assert.ok(after.state.status === 'active' && after.state.power.state === 'stopping');
  assert.deepEqual(
    after.state.blocked.map(({ disk: name, keyVersion }) => [name, keyVersion]),
    [[os.disk, version1]],
  );
});

test('G5: a paused replica does not end the opens of the replica that owns the machine now', async () => {
  const overtaken: Meanwhile = async () => {
    throw new Rejection('FAILED_PRECONDITION', 'ATTACH_EPOCH_OUTDATED', 'opened since', { attach_epoch: '2' });
  };
  const late = await start(withGuests, overtaken, { isOurs: false });
  assert.deepEqual([late.opens, late.commits, late.power], [[1], [], 'starting']);
  assert.equal(late.failure instanceof Error && late.failure.name, 'Interrupted');
});

test('G3: a refusal that a paused replica gets does not fail the start of the replica that owns the machine now', async () => {
  const refused: Meanwhile = async () => {
    throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no');
  };
  assert.equal((await start(withGuests, refused, { isOurs: false })).power, 'starting');
  assert.equal((await start(withGuests, refused)).power, 'stopped');
});

test('VM-40: a start that another replica reported as failed leaves no guest', async () => {
  const guests: string[] = [];
  let vms: Category<Vm, VmEvent> | undefined;
  const failure = { operation: 'start', operationId: 'op', status: 'UNAVAILABLE', code: 'X', message: '', at } as const;
  const driver: VmHost = {
    ...withGuests,
    async start(name) {
      await vms?.transact(vm, startFailed(at, 'op', failure, []), cause);
      guests.push(name);
    },
    async stop(name) {
      guests.splice(0, guests.length, ...guests.filter((one) => one !== name));
    },
  };
  const { power } = await start(driver, async (_losses, of) => {
    vms = of;
  });
  assert.deepEqual([power, guests], ['stopped', []]);
});

/** Guests at a VM host; each start is answered by the next of these. */
const atHost = (...answers: readonly (Error | 'up')[]): Guests & { readonly starts: number[] } => {
  const starts: number[] = [];
  return {
    ...ownGuests(withGuests),
    starts,
    choose: async () => ({ host: 'vmHosts/a', guard: { name: 'placement/a', from: 0, to: 0 } }),
    async start({ placement }) {
      const answer = answers[starts.length];
      starts.push(placement?.number ?? 0);
      if (answer instanceof Error) throw answer;
    },
    stop: async ({ placement }) => (placement === undefined ? 'gone' : 'unknown'),
  };
};

test('G2: the host of a guest is recorded, with a new number, before the host is called', async () => {
  const guests = atHost('up');
  const { commits, after } = await start(guests, async () => {});
  assert.deepEqual(commits, [['DisksOpened', 'VmPlaced'], ['VmStarted']]);
  assert.deepEqual(guests.starts, [1]);
  assert.deepEqual(after.state.status === 'active' && after.state.placement, { host: 'vmHosts/a', number: 1 });
});

test('a host that knows a later placement gets one above it: the record was restored to an earlier moment', async () => {
  const guests = atHost(new PlacementOutdated(6), 'up');
  const { commits, power } = await start(guests, async () => {});
  assert.deepEqual(commits, [['DisksOpened', 'VmPlaced'], ['VmPlaced'], ['VmStarted']]);
  assert.deepEqual([guests.starts, power], [[1, 7], 'running']);
});

test('G2: a start whose host does not respond closes the disks, and begins again at another host', async () => {
  const { failure, closes, power } = await start(atHost(new HostAway('vmHosts/a')), async () => {}, {
    startTimeoutMs: Number.MAX_SAFE_INTEGER,
  });
  assert.equal(failure instanceof Error && failure.name, 'Interrupted');
  assert.deepEqual([closes > 0, power], [true, 'starting']);
  const late = await start(atHost(new HostAway('vmHosts/a')), async () => {});
  assert.deepEqual([late.closes > 0, late.power], [true, 'stopped'], 'not beyond the time of a start');
});
