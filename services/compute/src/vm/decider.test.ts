import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { evolve, initial } from './decider.ts';
import type { VmEvent } from './events.ts';
import { applyKeyLoss, explainOutage, stopForKeyLoss, stopForLostDisks } from './key-loss.ts';
import { keyAccessReturned } from './key-return.ts';
import { attach, create, deallocate, detach, powerOff, remove, restart, start } from './operations.ts';
import * as progress from './progress.ts';
import type { Vm } from './state.ts';
import {
  ask,
  at,
  deallocatedVm,
  disk,
  diskOf,
  fold,
  openedAt,
  running,
  setOf,
  specFor,
  stopped,
  version1,
  version2,
  vm,
  work,
} from './test-machine.ts';
import { powerOf, provisioningOf, shown } from './wire.ts';

const os = disk('os', 0, 'PREMIUM_SSD');
const data = disk('data', 1, 'PREMIUM_SSD', 'des');
const extra = disk('extra', 2, 'STANDARD_SSD', 'des');
const disks = [os, data];
const lostKey = {
  reason: 'KEY_DISABLED',
  disk: data.disk,
  set: data.set,
  keyVersion: version1,
  since: at,
  traceId: '',
  accessEpoch: 0,
} as const;
const given = (...events: readonly VmEvent[]) => {
  const state = fold(events);
  return { state, when: (command: (state: Vm) => readonly VmEvent[]) => command(state) };
};
const after = (history: readonly VmEvent[], command: (state: Vm) => readonly VmEvent[]): readonly VmEvent[] => [
  ...history,
  ...command(fold(history)),
];
const statesOf = (events: readonly VmEvent[]) => {
  const vmShown = shown({ id: vm, state: fold(events), version: events.length });
  return [provisioningOf(vmShown), powerOf(vmShown)];
};

test('VM-10: a failed creation leaves no machine, and the same request can be repeated', () => {
  const begun = given().when(create(ask('c'), specFor(disks), disks));
  const failure = {
    operation: 'create',
    operationId: 'c',
    status: 'FAILED_PRECONDITION',
    code: 'X',
    message: '',
    at,
  } as const;
  const failed = after(begun, progress.creationFailed(at, 'c', failure));
  assert.throws(() => given(...failed).when(start(ask())), { reason: 'VIRTUAL_MACHINE_NOT_FOUND' });
  assert.equal(given(...failed).when(create(ask('c2'), specFor(disks), disks)).length, 1);
});

test('CMK-110: if two processes create a machine, the outcome that is stored first counts', () => {
  const begun = given().when(create(ask('op'), specFor(disks), disks));
  const undoing = after(begun, progress.undoCreation(at, 'op', failure));
  assert.deepEqual(statesOf(undoing), ['CREATING', 'CREATING']);
  assert.deepEqual(given(...undoing).when(progress.created(at, 'op', [])), []);
  assert.deepEqual(given(...undoing).when(progress.undoCreation(at, 'op', failure)), []);
  const failed = after(undoing, progress.creationFailed(at, 'op', failure));
  assert.deepEqual(given(...failed).when(progress.created(at, 'op', [])), []);
  const made = after(begun, progress.created(at, 'op', []));
  assert.deepEqual(given(...made).when(progress.undoCreation(at, 'op', failure)), []);
  assert.deepEqual(given(...made).when(progress.creationFailed(at, 'op', failure)), []);
});

test('VM-01, VM-02, VM-04: power state and provisioning state are independent', () => {
  assert.deepEqual(statesOf(running(disks).slice(0, 1)), ['CREATING', 'CREATING']);
  assert.deepEqual(statesOf(running(disks).slice(0, 2)), ['CREATING', 'STARTING']);
  assert.deepEqual(statesOf(running(disks)), ['SUCCEEDED', 'RUNNING']);
  assert.deepEqual(statesOf(after(stopped(disks), start(ask()))), ['UPDATING', 'STARTING']);
  assert.deepEqual(statesOf(after(running(disks), remove(ask()))), ['DELETING', 'RUNNING']);
});

test('VM-03, VM-12: a powered-off machine is STOPPED, not DEALLOCATED; power off has no effect on a machine that is off', () => {
  const off = after(running(disks), powerOff(ask(), { isHard: false }));
  assert.deepEqual(statesOf(off), ['UPDATING', 'STOPPING']);
  assert.deepEqual(statesOf(after(off, progress.guestStopped(at, 'op'))), ['SUCCEEDED', 'STOPPED']);
  assert.deepEqual(given(...stopped(disks)).when(powerOff(ask(), { isHard: false })), []);
  assert.deepEqual(given(...deallocatedVm(disks)).when(powerOff(ask(), { isHard: false })), []);
  const freeing = after(running(disks), deallocate(ask()));
  assert.deepEqual(given(...freeing).when(powerOff(ask('op2'), { isHard: false })), [], 'it is on its way there');
});

test('VM-11, VM-21: a stopped or deallocated machine starts; a start of a running machine has no effect', () => {
  assert.equal(given(...stopped(disks)).when(start(ask()))[0]?.type, 'VmStarting');
  assert.deepEqual(given(...deallocatedVm(disks)).when(start(ask())), [
    { type: 'VmStarting', work: work('start'), from: 'deallocated', at },
  ]);
  assert.deepEqual(given(...running(disks)).when(start(ask())), []);
  const restarting = after(running(disks), restart(ask(), 'r1'));
  assert.deepEqual(given(...restarting).when(start(ask('op2'))), [], 'it is on its way there');
});

test('VM-13: a running or stopped machine can be deallocated; its stop time is when it stopped running', () => {
  for (const history of [running(disks), stopped(disks)]) {
    const done = after(after(history, deallocate(ask())), progress.deallocated(at, 'op'));
    assert.deepEqual(statesOf(done), ['SUCCEEDED', 'DEALLOCATED']);
  }
  assert.deepEqual(given(...deallocatedVm(disks)).when(deallocate(ask())), []);
  const stopTime = (history: readonly VmEvent[]) => {
    const state = fold(history);
    return state.status === 'active' ? state.stoppedAt : undefined;
  };
  const deallocatedAt = at + 9_000;
  const off = (history: readonly VmEvent[]) =>
    after(after(history, deallocate(ask())), progress.deallocated(deallocatedAt, 'op'));
  const stoppedAt = stopTime(stopped(disks));
  assert.equal(stopTime(off(stopped(disks))), stoppedAt, 'it was off before');
  const startedAgain: readonly VmEvent[] = [
    ...stopped(disks),
    { type: 'VmStarting', work: work('start'), from: 'stopped', at: at + 1_000 },
    { type: 'VmStarted', at: at + 2_000 },
  ];
  assert.equal(stopTime(off(startedAgain)), deallocatedAt, 'it ran until then');
  const restartFailed: readonly VmEvent[] = [
    ...startedAgain,
    { type: 'VmStopping', work: work('restart'), at: at + 3_000 },
    { type: 'VmStarting', work: work('restart'), from: 'stopped', at: at + 4_000 },
    { type: 'VmStartFailed', failure, blocked: [], at: at + 5_000 },
  ];
  assert.equal(stopTime(restartFailed), at + 4_000, 'it ran until its restart');
});

test('VM-14, VM-33: a restart stops the machine, then opens all its disks again; a repeated request has no effect', () => {
  const all = [...disks, disk('ultra', 2, 'ULTRA', 'des')];
  const stopping = after(running(all), restart(ask(), 'r1'));
  const starting = after(stopping, progress.guestStopped(at, 'op'));
  const state = fold(starting);
  assert.equal(state.status === 'active' && state.power.state, 'starting');
  assert.ok(state.status === 'active' && state.disks.every(({ access }) => access === 'opening'));
  const done = after(starting, progress.guestStarted(at, 'op'));
  assert.deepEqual(given(...done).when(restart(ask('op2'), 'r1')), []);
  assert.equal(given(...done).when(restart(ask('op2'), 'r2')).length, 1);
  assert.throws(() => given(...deallocatedVm(disks)).when(restart(ask(), 'r1')), {
    reason: 'VIRTUAL_MACHINE_DEALLOCATED',
    message: `Operation 'restart' is not allowed on VM '${vm}' since the VM is either deallocated or marked to be deallocated.`,
  });
  assert.throws(() => given(...stopped(disks)).when(restart(ask(), 'r1')), { reason: 'VIRTUAL_MACHINE_NOT_RUNNING' });
});

test('VM-17: a machine that is being deleted refuses commands with MARKED_FOR_DELETION, then with NOT_FOUND', () => {
  const marked = after(running(disks), remove(ask()));
  assert.deepEqual(given(...marked).when(remove(ask('op2'))), []);
  assert.throws(() => given(...marked).when(start(ask('op2'))), { reason: 'MARKED_FOR_DELETION' });
  const gone = after(marked, progress.deleted(at, 'op'));
  assert.throws(() => given(...gone).when(start(ask('op2'))), { reason: 'VIRTUAL_MACHINE_NOT_FOUND' });
});

test('VM-18: a repeated attach has no effect; a used LUN, a second LUN for a disk, or one disk too many is refused', () => {
  assert.equal(given(...running(disks)).when(attach(ask(), extra, 64))[0]?.type, 'DiskAttaching');
  assert.deepEqual(given(...running(disks)).when(attach(ask(), data, 64)), []);
  assert.throws(() => given(...running(disks)).when(attach(ask(), { ...extra, lun: 1 }, 64)), {
    reason: 'LUN_IN_USE',
    message: 'A disk at LUN 1 already exists.',
  });
  assert.throws(() => given(...running(disks)).when(attach(ask(), { ...data, lun: 3 }, 64)), {
    reason: 'DISK_ATTACHED',
  });
  assert.throws(() => given(...running(disks)).when(attach(ask(), extra, 1)), { reason: 'TOO_MANY_DATA_DISKS' });
});

test('CMK-110: a repeat of an attach that a stop interrupted is refused until the disk is free, then starts over', () => {
  const cutOff = [
    ...after(running(disks), attach(ask(), extra, 64)),
    { type: 'VmStopping', work: work('keyStop', 'k'), at },
  ] as const;
  for (const history of [cutOff, [...cutOff, { type: 'VmStopped', at } as const]]) {
    assert.throws(() => given(...history).when(attach(ask('again'), extra, 64)), { reason: 'OPERATION_IN_PROGRESS' });
  }
  const freed = given(...cutOff, { type: 'VmStopped', at }, { type: 'DisksClosed', at });
  assert.equal(freed.when(attach(ask('again'), extra, 64))[0]?.type, 'DiskAttaching');
});

test('VM-18: the OS disk can be detached from a deallocated machine only, which then cannot start', () => {
  assert.throws(() => given(...running(disks)).when(detach(ask(), os.disk)), { reason: 'OS_DISK_IN_USE' });
  assert.throws(() => given(...stopped(disks)).when(detach(ask(), os.disk)), { reason: 'OS_DISK_IN_USE' });
  const without = after(after(deallocatedVm(disks), detach(ask(), os.disk)), progress.diskDetached(at, 'op'));
  assert.throws(() => given(...without).when(start(ask('op2'))), { reason: 'OS_DISK_MISSING' });
});

test('VM-19: another OS disk can be attached only to a deallocated machine whose OS disk was detached', () => {
  const other = { ...os, disk: diskOf('other') };
  const inUse = { reason: 'OS_DISK_IN_USE' };
  assert.throws(() => given(...deallocatedVm(disks)).when(attach(ask(), other, 64)), inUse);
  assert.throws(() => given(...running(disks)).when(attach(ask(), other, 64)), inUse);
  const without = after(after(deallocatedVm(disks), detach(ask(), os.disk)), progress.diskDetached(at, 'op'));
  const attaching = after(without, attach(ask('op2'), other, 1));
  assert.throws(() => given(...without).when(attach(ask('op2'), { ...data, disk: diskOf('third') }, 64)), {
    reason: 'LUN_IN_USE',
  });
  const exchanged = after(attaching, progress.diskAttached(at, 'op2'));
  assert.deepEqual(given(...exchanged).when(attach(ask('again'), other, 64)), []);
  assert.equal(given(...exchanged).when(start(ask('op3')))[0]?.type, 'VmStarting');
});

test('VM-18: a repeated detach has no effect; a detach of a disk that the machine does not have is refused', () => {
  const again = detach(ask('again'), data.disk);
  const refused = { reason: 'DISK_NOT_ATTACHED' };
  assert.throws(() => given(...running(disks)).when(detach(ask(), diskOf('unknown'))), refused);
  const detaching = after(running(disks), detach(ask(), data.disk));
  const detached = after(detaching, progress.diskDetached(at, 'op'));
  assert.deepEqual(given(...detached).when(again), []);
  const cutOff = [
    ...detaching,
    { type: 'VmStopping', work: work('keyStop', 'k'), at },
    { type: 'VmStopped', at },
    { type: 'DisksClosed', at },
  ] as const;
  assert.deepEqual(given(...cutOff).when(again), [], 'a stop interrupted it, and closed the disk');
  const failure = {
    operationId: 'op2',
    operation: 'attach',
    status: 'FAILED_PRECONDITION',
    code: 'KEY_DISABLED',
    message: '',
    at,
  } as const;
  const attaching = after(detached, attach(ask('op2'), data, 64));
  const notAttached = after(attaching, progress.diskAttachFailed(at, 'op2', failure));
  assert.throws(() => given(...notAttached).when(again), refused);
  const many = Array.from(
    { length: 40 },
    (_, n): VmEvent => ({ type: 'DiskDetachedFromVm', disk: diskOf(`d${n}`), at }),
  );
  assert.deepEqual(given(...running(disks), ...many).when(detach(ask(), diskOf('d39'))), []);
  assert.throws(
    () => given(...running(disks), ...many).when(detach(ask(), diskOf('d0'))),
    refused,
    'no longer remembered',
  );
});

test('CMK-110: if two processes attach a disk, the outcome that is stored first counts', () => {
  const failure = {
    operationId: 'op',
    operation: 'attach',
    status: 'UNAVAILABLE',
    code: 'STORE_UNAVAILABLE',
    message: '',
    at,
  } as const;
  const attaching = after(running(disks), attach(ask(), extra, 64));
  const undoing = after(attaching, progress.undoAttach(at, 'op', failure));
  assert.deepEqual(given(...undoing).when(progress.diskAttached(at, 'op')), []);
  assert.deepEqual(given(...undoing).when(progress.undoAttach(at, 'op', failure)), []);
  const failed = after(undoing, progress.diskAttachFailed(at, 'op', failure));
  assert.deepEqual(given(...failed).when(progress.undoAttach(at, 'op', failure)), []);
  const attached = after(attaching, progress.diskAttached(at, 'op'));
  assert.deepEqual(given(...attached).when(progress.undoAttach(at, 'op', failure)), []);
  assert.deepEqual(given(...attached).when(progress.diskAttachFailed(at, 'op', failure)), []);
});

test('VM-20: a machine with an operation in progress refuses other operations', () => {
  const busy = after(running(disks), attach(ask(), extra, 64));
  for (const command of [
    powerOff(ask('op2'), { isHard: true }),
    deallocate(ask('op2')),
    restart(ask('op2'), 'r'),
    remove(ask('op2')),
    detach(ask('op2'), data.disk),
  ]) {
    assert.throws(() => given(...busy).when(command), { reason: 'OPERATION_IN_PROGRESS' });
  }
});

test('VM-17, VM-20: delete is accepted while nothing is in progress, and refused in every passing power state', () => {
  for (const idle of [running(disks), stopped(disks), deallocatedVm(disks)]) {
    assert.equal(given(...idle).when(remove(ask('op2')))[0]?.type, 'VmDeleting');
  }
  const passing = {
    STARTING: after(stopped(disks), start(ask())),
    STOPPING: after(running(disks), powerOff(ask(), { isHard: false })),
    DEALLOCATING: after(running(disks), deallocate(ask())),
  };
  for (const [power, history] of Object.entries(passing)) {
    assert.equal(statesOf(history)[1], power);
    assert.throws(() => given(...history).when(remove(ask('op2'))), { reason: 'OPERATION_IN_PROGRESS' });
  }
});

test('VM-20: a stop because of a key is work too, and only a power off is accepted meanwhile', () => {
  const history = [...running(disks), { type: 'VmStopping', work: work('keyStop', 'k'), reason: lostKey, at }] as const;
  for (const command of [
    start(ask()),
    restart(ask(), 'r'),
    deallocate(ask()),
    remove(ask()),
    attach(ask(), extra, 64),
    detach(ask(), data.disk),
  ]) {
    assert.throws(() => given(...history).when(command), { reason: 'OPERATION_IN_PROGRESS' });
  }
  assert.deepEqual(given(...history).when(powerOff(ask(), { isHard: false })), [{ type: 'VmKeptOff', at }]);
});

test('VM-47: a failed start leaves the machine FAILED in its earlier power state; a later start succeeds', () => {
  const starting = after(deallocatedVm(disks), start(ask()));
  const failure = {
    operation: 'start',
    operationId: 'op',
    status: 'FAILED_PRECONDITION',
    code: 'KEY_DISABLED',
    message: '',
    loss: lostKey,
    at,
  } as const;
  const failed = after(starting, progress.startFailed(at, 'op', failure, [lostKey]));
  assert.deepEqual(statesOf(failed), ['FAILED', 'DEALLOCATED']);
  const cured = after(after(failed, start(ask('op2'))), progress.guestStarted(at, 'op2'));
  assert.deepEqual(statesOf(cured), ['SUCCEEDED', 'RUNNING']);
});

test('a key change of a disk is recorded, and a repeat has no effect', () => {
  const history = running(disks);
  const changed = { disk: data.disk, set: data.set, keyVersion: version2, diskVersion: 9 };

  const events = given(...history).when(progress.diskKeyChanged(at, changed));
  assert.deepEqual(events, [{ type: 'DiskKeyChanged', ...changed, at }]);
  assert.deepEqual(given(...history, ...events).when(progress.diskKeyChanged(at, changed)), []);
});

test('CMK-112: a key change of a disk that is older than the known one is not recorded', () => {
  const changed = { disk: data.disk, set: data.set, keyVersion: version2, diskVersion: 9 };
  const known = [...running(disks), { type: 'DiskKeyChanged', ...changed, at } as const];
  const older = { ...changed, keyVersion: data.keyVersion, diskVersion: 8 };
  assert.deepEqual(given(...known).when(progress.diskKeyChanged(at, older)), []);
});

test('CMK-112: facts and opens in any order leave a machine with the newest key of its disk', () => {
  const versionAt = (n: number): string => `vaults/kv1/keys/k1/versions/${String(n).repeat(32)}`;
  const openAt = (diskVersion: number) =>
    openedAt(5, [{ ...data, keyVersion: versionAt(diskVersion) }], diskVersion).map((one) => ({ ...one, diskVersion }));
  const hear = (news: { readonly isFact: boolean; readonly diskVersion: number }) => {
    const { isFact, diskVersion } = news;
    const changed = { disk: data.disk, set: data.set, keyVersion: versionAt(diskVersion), diskVersion };
    return isFact ? progress.diskKeyChanged(at, changed) : progress.disksOpened(at, 'op', openAt(diskVersion));
  };
  const news = fc.array(fc.record({ isFact: fc.boolean(), diskVersion: fc.integer({ min: 2, max: 9 }) }));
  const facts = news.map((all) => all.filter(({ isFact }) => isFact));
  const apply = (state: Vm, one: Parameters<typeof hear>[0]): Vm => hear(one)(state).reduce(evolve, state);
  fc.assert(
    // Facts arrive during the creation, an open completes it, then both arrive in any order.
    fc.property(facts, fc.integer({ min: 2, max: 9 }), news, (before, born, later) => {
      const begun = fold([{ type: 'VmCreationStarted', spec: specFor(disks), disks, work: work('create', 'op'), at }]);
      const made = progress.created(at, 'op', openAt(born));
      const creating = before.reduce(apply, begun);
      const state = later.reduce(apply, made(creating).reduce(evolve, creating));
      const newest = Math.max(born, ...[...before, ...later].map(({ diskVersion }) => diskVersion));
      const known = state.status === 'active' ? state.disks.find(({ disk: name }) => name === data.disk) : undefined;
      assert.equal(known?.keyVersion, versionAt(newest));
    }),
  );
});

const loss = {
  reason: 'KEY_DISABLED',
  set: setOf('des'),
  keyVersion: version1,
  since: at,
  traceId: '',
  accessEpoch: 6,
} as const;

test('G2: a lower open number (after a restore of the disk service) counts, and a loss then stops the machine', () => {
  const state = fold([
    ...running(disks),
    { type: 'DisksOpened', opened: openedAt(5, disks, 7), at },
    { type: 'VmStopping', work: work('powerOff', 'p'), at },
    { type: 'VmStopped', at },
    { type: 'DisksClosed', at },
    { type: 'VmStarting', work: work('start'), from: 'stopped', at },
  ]);
  const reported = progress.disksOpened(at, 'op', openedAt(5, disks, 3))(state);
  const opened = reported.reduce(evolve, state);
  assert.deepEqual(
    opened.status === 'active' && opened.disks.map(({ access, attachEpoch }) => [access, attachEpoch]),
    disks.map(() => ['open', 3]),
  );
  assert.equal(stopForKeyLoss({ loss, work: work('keyStop', 'n'), isInstant: false })(opened).length, 1);
});

const failure = { operation: 'start', operationId: 'op', status: 'UNAVAILABLE', code: 'X', message: '', at } as const;
const event = fc.constantFrom<VmEvent>(
  { type: 'VmCreationStarted', spec: specFor(disks), disks, work: work('create', 'op'), at },
  { type: 'VmCreationUndoing', failure, at },
  { type: 'VmCreationFailed', failure, at },
  { type: 'VmCreated', opened: openedAt(5, disks), disks, at },
  { type: 'VmStarting', work: work('start'), from: 'stopped', at },
  { type: 'DisksOpened', opened: openedAt(5, disks, 2), at },
  { type: 'VmStarted', at },
  { type: 'VmStartFailed', failure, blocked: [{ ...loss, disk: data.disk }], at },
  {
    type: 'VmStopping',
    work: work('keyStop', 'k'),
    reason: { ...loss, disk: data.disk },
    blocked: [{ ...loss, disk: data.disk }],
    at,
  },
  { type: 'VmStopping', work: { ...work('restart'), requestId: 'r1' }, at },
  { type: 'VmStopped', at },
  { type: 'VmDeallocating', work: work('deallocate'), at },
  { type: 'VmDeallocated', at },
  { type: 'DisksClosed', at },
  { type: 'VmDeleting', work: work('delete'), at },
  { type: 'VmDeleted', at },
  { type: 'DiskAttaching', disk: extra, work: { ...work('attach'), disk: extra.disk }, at },
  { type: 'DiskAttachedToVm', disk: extra.disk, lun: 2, deleteWithVm: false, sku: extra.sku, at },
  { type: 'DiskAttachUndoing', failure, at },
  { type: 'DiskAttachFailed', disk: extra.disk, failure, at },
  { type: 'DiskDetaching', disk: data.disk, work: { ...work('detach'), disk: data.disk }, at },
  { type: 'DiskDetachedFromVm', disk: data.disk, at },
  { type: 'DiskKeyChanged', disk: data.disk, set: data.set, keyVersion: version2, at },
  { type: 'KeyAccessReturned', set: data.set, keyVersion: version1, at },
  { type: 'KeyAccessReturned', set: data.set, keyVersion: version1, owesStart: true, at },
  { type: 'KeyAccessReturned', set: data.set, keyVersion: version1, startsAgain: work('start', 'again'), at },
  { type: 'OutageExplained', loss, disks: [data.disk], at },
  { type: 'VmKeptOff', at },
  {
    type: 'VmStopping',
    work: work('keyStop', 'k'),
    reason: { ...loss, reason: 'KEY_VAULT_UNREACHABLE', disk: data.disk },
    at,
  },
);
const command = fc.constantFrom<(state: Vm) => readonly VmEvent[]>(
  create(ask('n'), specFor(disks), disks),
  start(ask('n')),
  powerOff(ask('n'), { isHard: false }),
  deallocate(ask('n')),
  restart(ask('n'), 'r1'),
  remove(ask('n')),
  attach(ask('n'), extra, 64),
  detach(ask('n'), data.disk),
  progress.created(at, 'op', openedAt(5, disks)),
  progress.undoCreation(at, 'op', failure),
  progress.creationFailed(at, 'op', failure),
  progress.disksOpened(at, 'op', openedAt(5, disks, 3)),
  progress.guestStarted(at, 'op'),
  progress.startFailed(at, 'op', failure, []),
  progress.guestStopped(at, 'op'),
  progress.guestStopped(at, 'k'),
  progress.deallocated(at, 'op'),
  progress.deleted(at, 'op'),
  progress.disksClosed(at),
  progress.diskAttached(at, 'op'),
  progress.undoAttach(at, 'op', failure),
  progress.diskAttachFailed(at, 'op', failure),
  progress.diskDetached(at, 'op'),
  progress.guestEnded(work('guestEnded', 'n'), at, { end: 'HOST_RESTARTED' }),
  progress.diskKeyChanged(at, { disk: data.disk, set: data.set, keyVersion: version2, diskVersion: 9 }),
  stopForKeyLoss({ loss, work: work('keyStop', 'n'), isInstant: false }),
  stopForKeyLoss({ loss, work: work('keyStop', 'n'), isInstant: true }),
  stopForLostDisks([{ loss: { ...loss, disk: data.disk }, attachEpoch: 1 }], {
    work: work('keyStop', 'n'),
    isInstant: false,
  }),
  applyKeyLoss({ loss, work: work('keyStop', 'n'), isInstant: true }),
  explainOutage(loss, at),
  keyAccessReturned(at, data),
  keyAccessReturned(at, data, { work: { ...work('start', 'n'), kind: 'start' }, isClear: true }),
  keyAccessReturned(at, data, { work: { ...work('start', 'n'), kind: 'start' }, isClear: false }),
);

/** Any events in any order. Most histories begin with an existing machine: random events rarely create one. */
const anyHistory = fc
  .tuple(
    fc.constantFrom<readonly VmEvent[]>([], running(disks), stopped(disks), deallocatedVm(disks)),
    fc.array(event, { maxLength: 8 }),
  )
  .map(([beginning, rest]) => [...beginning, ...rest]);

test('VM-21: from any history, a repeated command has no effect, and no history breaks the fold', () => {
  fc.assert(
    fc.property(anyHistory, command, (history, wanted) => {
      let first: readonly VmEvent[];
      try {
        first = wanted(fold(history));
      } catch (error) {
        assert.equal(error instanceof Error && error.name, 'Rejection');
        return;
      }
      assert.deepEqual(wanted([...history, ...first].reduce(evolve, initial)), []);
    }),
    { numRuns: 5_000 },
  );
});

test('states are plain JSON', () => {
  fc.assert(
    fc.property(anyHistory, (history) => {
      const state = fold(history);
      assert.deepEqual(JSON.parse(JSON.stringify(state)), state);
    }),
  );
});

test('the trace of a stop, to which closing the disks belongs, is kept only while the machine is off', () => {
  const traced = (kind: 'powerOff' | 'start', trace?: string) => ({
    ...work(kind, trace ?? kind),
    ...(trace === undefined ? {} : { traceparent: trace }),
  });
  const off = (trace?: string): readonly VmEvent[] => [
    { type: 'VmStopping', work: traced('powerOff', trace), at },
    { type: 'VmStopped', at },
  ];
  const traceOf = (events: readonly VmEvent[]): string | undefined => {
    const state = fold(events);
    assert.ok(state.status === 'active' && !('offTraceparent' in state));
    return 'offTraceparent' in state.power ? state.power.offTraceparent : undefined;
  };
  const stoppedOnce = [...running(disks), ...off('first')];
  assert.equal(traceOf(stoppedOnce), 'first');
  assert.equal(traceOf(after(stoppedOnce, powerOff(ask('again'), { isHard: false }))), 'first');
  const startedAgain: readonly VmEvent[] = [
    ...stoppedOnce,
    { type: 'VmStarting', work: traced('start'), from: 'stopped', at },
    { type: 'VmStarted', at },
  ];
  assert.equal(traceOf(startedAgain), undefined);
  assert.equal(traceOf([...startedAgain, ...off()]), undefined, 'a stop without a trace has none of an earlier stop');
});
