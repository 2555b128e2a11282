import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmEvent } from './events.ts';
import { instanceViewOf } from './instance-view.ts';
import { applyKeyLoss, canBeOrdered, type LossTerms, stopForKeyLoss, stopForLostDisks } from './key-loss.ts';
import { keyAccessReturned } from './key-return.ts';
import { attach, deallocate, detach, powerOff, remove, restart, start } from './operations.ts';
import { guestStopped } from './progress.ts';
import { stoppingLossOf } from './state.ts';
import {
  ask,
  at,
  deallocatedVm,
  disk,
  fold,
  lossOf,
  openedAt,
  running,
  setOf,
  stopped,
  version1,
  version2,
  vm,
  work,
} from './test-machine.ts';
import { provisioningOf, shown, vmOnWire } from './wire.ts';

const os = disk('os', 0, 'PREMIUM_SSD');
const data = disk('data', 1, 'STANDARD_SSD', 'des');
const ultra = disk('ultra', 2, 'ULTRA', 'des');
const other = disk('other', 3, 'STANDARD_HDD', 'elsewhere');
const loss = lossOf('des', 6);
const terms = (changes: Partial<LossTerms> = {}): LossTerms => ({
  loss,
  work: work('keyStop', 'k'),
  isInstant: false,
  ...changes,
});
const typesOf = (events: readonly VmEvent[]) => events.map(({ type }) => type);
const stop = (history: readonly VmEvent[], changes: Partial<LossTerms> = {}) =>
  stopForKeyLoss(terms(changes))(fold(history));
const view = (events: readonly VmEvent[]) => instanceViewOf({ id: vm, state: fold(events), version: events.length });

test('CMK-100, CMK-101: one non-ultra disk under the lost key stops a machine, whatever its class', () => {
  for (const sku of ['STANDARD_HDD', 'STANDARD_SSD', 'PREMIUM_SSD', 'PREMIUM_SSD_V2'] as const) {
    assert.deepEqual(typesOf(stop(running([os, disk('data', 1, sku, 'des')]))), ['VmStopping'], sku);
  }
  assert.deepEqual(typesOf(stop(running([disk('os', 0, 'PREMIUM_SSD', 'des')]))), ['VmStopping']);
});

test('CMK-102, VM-49: a machine with only ultra disks under the lost key continues', () => {
  assert.deepEqual(stop(running([os, ultra])), []);
  assert.deepEqual(stop(running([os, ultra, other])), []);
});

const shownAs = (events: readonly VmEvent[]) => vmOnWire({ id: vm, state: fold(events), version: 1 });

test('CMK-102, VM-49: a machine that continues with ultra disks shows what blocks its next start, once per loss', () => {
  const note = (history: readonly VmEvent[], changes: Partial<LossTerms> = {}) =>
    applyKeyLoss(terms(changes))(fold(history));
  const history = running([os, ultra, other]);
  const noted = [...history, ...note(history)];
  const { powerState, provisioningState, nextStartLosses } = shownAs(noted);
  assert.deepEqual([powerState, provisioningState], ['RUNNING', 'SUCCEEDED']);
  assert.deepEqual(
    nextStartLosses.map(({ reason, disk: name, accessEpoch }) => [reason, name, accessEpoch]),
    [['KEY_DISABLED', ultra.disk, 6]],
  );
  const [status] = view(noted).disks.find(({ name }) => name === ultra.disk)?.statuses ?? [];
  assert.deepEqual([status?.code, status?.level], ['ProvisioningState/succeeded', 'WARNING']);
  assert.match(status?.message ?? '', /next start of the machine fails.*must be in the enabled state/);
  assert.deepEqual(note(noted), [], 'the same again');
  assert.deepEqual(note(noted, { loss: lossOf('des', 5) }), [], 'an older one');
  assert.deepEqual(note(history, { isOver: true }), [], 'one that is over');
  assert.deepEqual(note(history, { loss: lossOf('des', 5) }), [], 'one from before the unwrap');
  assert.deepEqual(note(history, { isUnder: () => false }), [], 'one of another version');
  assert.deepEqual(note(running([os, other])), [], 'one of another set');
  const deleted = { ...loss, reason: 'KEY_DELETED', accessEpoch: 7 } as const;
  const later = [...noted, ...note(noted, { loss: deleted })];
  assert.deepEqual(
    shownAs(later).nextStartLosses.map(({ reason }) => reason),
    ['KEY_DELETED'],
  );
  const corrected = [...noted, ...note(noted, { loss: { ...loss, reason: 'KEY_DELETED' } })];
  assert.deepEqual(
    shownAs(corrected).nextStartLosses.map(({ reason }) => reason),
    ['KEY_DELETED'],
  );
  const back = [...noted, ...keyAccessReturned(at, { set: ultra.set, keyVersion: version1 })(fold(noted))];
  assert.deepEqual(shownAs(back).nextStartLosses, []);
});

test('CMK-102: the losses that block the next start stay recorded when the user or another key stops the machine', () => {
  const history = running([os, data, { ...ultra, set: setOf('slow') }]);
  const noted = [...history, ...applyKeyLoss(terms({ loss: lossOf('slow', 6) }))(fold(history))];
  const blocked = (events: readonly VmEvent[]) => {
    const state = fold(events);
    return state.status === 'active' ? state.blocked.map(({ disk: name }) => name) : [];
  };
  const off = [...noted, ...powerOff(ask(), { isHard: false })(fold(noted))];
  const stoppedByUser = [...off, ...guestStopped(at, 'op')(fold(off))];
  assert.deepEqual(blocked(stoppedByUser), [ultra.disk]);
  const [, , status] = view(stoppedByUser).disks.map(({ statuses }) => statuses[0]?.level);
  assert.equal(status, 'ERROR');
  const onWire = vmOnWire({ id: vm, state: fold(stoppedByUser), version: 1 });
  assert.deepEqual(
    onWire.nextStartLosses.map(({ disk: name }) => name),
    [ultra.disk],
  );
  const lost = [...noted, ...stop(noted)];
  assert.deepEqual(blocked(lost), [data.disk, ultra.disk]);
  const shownLost = vmOnWire({ id: vm, state: fold(lost), version: 1 });
  assert.deepEqual(
    [shownLost.stopReason?.disk, shownLost.nextStartLosses.map(({ disk: name }) => name)],
    [data.disk, [ultra.disk]],
  );
});

test('CMK-125: a machine that a lost key stopped also records the loss of another key, once per key', () => {
  const other = disk('other', 2, 'STANDARD_SSD', 'second');
  const history = running([os, data, other]);
  const lost = [...history, ...stop(history)];
  const again = (events: readonly VmEvent[], set: string, accessEpoch: number) =>
    applyKeyLoss(terms({ loss: lossOf(set, accessEpoch) }))(fold(events));
  const [noted, ...rest] = again(lost, 'second', 9);
  assert.ok(noted?.type === 'NextStartBlocked' && rest.length === 0);
  assert.deepEqual(
    noted.blocked.map(({ disk: name }) => name),
    [other.disk],
  );
  const held = [...lost, noted];
  for (const set of ['des', 'second']) assert.deepEqual(again(held, set, 11), []);
  const key = { set: setOf('des'), keyVersion: version1 };
  const back = [...held, ...keyAccessReturned(at, key)(fold(held))];
  assert.equal(shownAs(back).keyReturned, false, 'the other one is still lost');
  assert.equal(shownAs(back).nextStartLosses[0]?.disk, other.disk);
  const all = [...back, ...keyAccessReturned(at, { ...key, set: setOf('second') })(fold(back))];
  assert.deepEqual([shownAs(all).keyReturned, shownAs(all).nextStartLosses], [true, []]);
  assert.deepEqual(again(all, 'second', 12), [], 'nothing blocks it any more: later losses are read when it is shown');
});

test('CMK-125: keyReturned is shown after a failed start, and not for a running machine whose attach was refused', () => {
  const refusedFor = (operation: 'attach' | 'start') =>
    ({
      operation,
      operationId: 'a',
      status: 'FAILED_PRECONDITION',
      code: loss.reason,
      message: 'its key is disabled',
      loss: { ...loss, disk: ultra.disk },
      at,
    }) as const;
  const history = running([os]);
  const refused: readonly VmEvent[] = [
    ...history,
    ...attach(ask('a'), ultra, 64)(fold(history)),
    { type: 'DiskAttachFailed', disk: ultra.disk, failure: refusedFor('attach'), at },
  ];
  const { powerState, failure, keyReturned } = shownAs(refused);
  assert.deepEqual([powerState, failure?.code, keyReturned], ['RUNNING', 'KEY_DISABLED', undefined]);
  const off = deallocatedVm([os, ultra]);
  const notStarted: readonly VmEvent[] = [
    ...off,
    ...start(ask('s'))(fold(off)),
    { type: 'VmStartFailed', failure: refusedFor('start'), blocked: [{ ...loss, disk: ultra.disk }], at },
  ];
  assert.equal(shownAs(notStarted).keyReturned, false);
  const key = { set: ultra.set, keyVersion: version1 };
  assert.equal(shownAs([...notStarted, ...keyAccessReturned(at, key)(fold(notStarted))]).keyReturned, true);
});

test('CMK-103, VM-50: a machine with ultra and other disks stops, and only the non-ultra disk shows an error', () => {
  const history = running([os, data, ultra, other]);
  const events = [...history, ...stop(history)];
  const errors = view(events).disks.filter(({ statuses }) => statuses.some(({ level }) => level === 'ERROR'));
  assert.deepEqual(
    errors.map(({ name }) => name),
    [data.disk],
  );
});

test('CMK-111: a loss does not stop a machine without a disk of the set', () => {
  assert.deepEqual(stop(running([os])), []);
  assert.deepEqual(stop(running([os, other])), []);
});

test('CMK-114: a loss does not change a machine that is off', () => {
  assert.deepEqual(stop(stopped([os, data])), []);
  assert.deepEqual(stop(deallocatedVm([os, data])), []);
});

test('VM-40, VM-41: a loss takes a machine from running to stopped, and its provisioning state stays SUCCEEDED', () => {
  const history = running([os, data]);
  const stopping = [...history, ...stop(history)];
  const off = [...stopping, ...guestStopped(at, 'k')(fold(stopping))];
  for (const [events, power] of [
    [stopping, 'stopping'],
    [off, 'stopped'],
  ] as const) {
    const state = shown({ id: vm, state: fold(events), version: 1 });
    assert.equal(state.status === 'active' && state.power.state, power);
    assert.equal(provisioningOf(state), 'SUCCEEDED');
  }
  const [status] = view(off).disks.find(({ name }) => name === data.disk)?.statuses ?? [];
  assert.deepEqual(
    { code: status?.code, level: status?.level, message: status?.message },
    {
      code: 'ProvisioningState/failed/KeyVaultKeyNotEnabled',
      level: 'ERROR',
      message: `The key vault key '${version1}' used for disk encryption set '${setOf('des')}' must be in the enabled state.`,
    },
  );
  assert.deepEqual(
    view(off).statuses.map(({ code }) => code),
    ['ProvisioningState/succeeded', 'PowerState/stopped'],
  );
});

test('VM-45: a loss older than the last unwrap, or a repeated loss, stops nothing', () => {
  assert.deepEqual(stop(running([os, data], 6)), []);
  assert.deepEqual(stop(running([os, data], 7)), []);
  const history = running([os, data], 5);
  const stopping = [...history, ...stop(history)];
  assert.deepEqual(stop(stopping), []);
  const off = [...stopping, ...guestStopped(at, 'k')(fold(stopping))];
  assert.deepEqual(stop(off), []);
  const again: readonly VmEvent[] = [
    ...off,
    ...start(ask('s'))(fold(off)),
    { type: 'DisksOpened', opened: openedAt(8, [os, data], 2), at },
    { type: 'VmStarted', at },
  ];
  assert.deepEqual(stop(again), []);
});

test('G3: a loss with a number or a deleted identity can be compared with unwraps; an outage cannot', () => {
  assert.equal(canBeOrdered(loss), true);
  assert.equal(canBeOrdered({ reason: 'IDENTITY_DELETED', accessEpoch: 0, principal: 'principals/p' }), true);
  assert.equal(canBeOrdered({ reason: 'KEY_DISABLED', accessEpoch: 0 }), false);
  assert.equal(canBeOrdered({ reason: 'KEY_VAULT_UNREACHABLE', accessEpoch: 6 }), false);
});

test('a partial loss stops only machines with a disk that is confirmed to be under the lost version', () => {
  assert.deepEqual(stop(running([os, data]), { isUnder: () => false }), []);
  assert.deepEqual(typesOf(stop(running([os, data]), { isUnder: ({ disk: name }) => name === data.disk })), [
    'VmStopping',
  ]);
});

test('G10: a stop names the lost key version, also if the machine still has an older version for its disk', () => {
  const history = running([os, data]);
  const stopping = [...history, ...stop(history, { loss: { ...loss, keyVersion: version2 } })];
  const state = fold(stopping);
  assert.ok(state.status === 'active');
  assert.equal(stoppingLossOf(state)?.keyVersion, version2);
  assert.deepEqual(
    state.blocked.map(({ disk: name, keyVersion }) => [name, keyVersion]),
    [[data.disk, version2]],
  );
  const returned = fold([...stopping, ...keyAccessReturned(at, { set: setOf('des'), keyVersion: version2 })(state)]);
  assert.deepEqual(returned.status === 'active' && returned.blocked, []);
});

test('G2, VM-20: a stop interrupts an attach and marks it failed; a machine already going off is not stopped again', () => {
  const attaching = [
    ...running([os, data]),
    ...attach(ask('a'), disk('more', 9, 'PREMIUM_SSD'), 64)(fold(running([os, data]))),
  ];
  const [stopping] = stop(attaching);
  assert.ok(stopping?.type === 'VmStopping');
  assert.deepEqual(
    { operation: stopping.preempted?.operation, id: stopping.preempted?.operationId, code: stopping.preempted?.code },
    { operation: 'attach', id: 'a', code: 'KEY_DISABLED' },
  );
  const created = running([os, data]).slice(0, 2);
  assert.deepEqual(typesOf(stop(created)), ['VmStopping']);
  for (const command of [powerOff(ask(), { isHard: false }), deallocate(ask()), remove(ask()), restart(ask(), 'r')]) {
    const history = running([os, data]);
    assert.deepEqual(stop([...history, ...command(fold(history))]), []);
  }
});

test('without a guest a machine is off in the same step, unless an operation in progress has to end first', () => {
  assert.deepEqual(typesOf(stop(running([os, data]), { isInstant: true })), ['VmStopping', 'VmStopped']);
  assert.deepEqual(typesOf(stop(running([os, data, ultra]), { isInstant: true })), ['VmStopping', 'VmStopped']);
  const before = running([os, data]);
  const detaching = [...before, ...detach(ask('d'), data.disk)(fold(before))];
  assert.deepEqual(typesOf(stop(detaching, { isInstant: true })), ['VmStopping']);
});

test('CMK-125: when access is restored the machine stays off, and only its statuses change', () => {
  const history = running([os, data]);
  const stopping = [...history, ...stop(history)];
  const off = [...stopping, ...guestStopped(at, 'k')(fold(stopping))];
  const returned = keyAccessReturned(at, { set: setOf('des'), keyVersion: version1 })(fold(off));
  assert.deepEqual(returned, [{ type: 'KeyAccessReturned', set: setOf('des'), keyVersion: version1, at }]);
  const state = fold([...off, ...returned]);
  assert.equal(state.status === 'active' && state.power.state, 'stopped');
  assert.equal(state.status === 'active' && stoppingLossOf(state)?.reason, 'KEY_DISABLED');
  assert.ok(view([...off, ...returned]).disks.every(({ statuses }) => statuses.every(({ level }) => level === 'INFO')));
  assert.deepEqual(keyAccessReturned(at, { set: setOf('des'), keyVersion: version2 })(fold(off)), []);
});

const outage = { ...loss, reason: 'KEY_VAULT_UNREACHABLE', accessEpoch: 0 } as const;
const lostDisk = (disk: { readonly disk: string }, attachEpoch = 1, said: typeof outage | typeof loss = outage) => ({
  loss: { ...said, disk: disk.disk },
  attachEpoch,
});
const said = (history: readonly VmEvent[], ...seen: readonly ReturnType<typeof lostDisk>[]) =>
  stopForLostDisks(seen, { work: work('keyStop', 'k'), isInstant: false })(fold(history));

test('G2: a report of a disk without data stops a machine only if it is about the current open', () => {
  const history = running([os, data, ultra]);
  assert.deepEqual(typesOf(said(history, lostDisk(data))), ['VmStopping']);
  assert.deepEqual(said(history, lostDisk(data, 0)), []);
  assert.deepEqual(said(stopped([os, data]), lostDisk(data)), []);
});

test('G3: an ultra disk that lost its data with its host stops its machine, with the reason', () => {
  const [stopping] = said(running([os, ultra]), lostDisk(ultra, 1, loss));
  assert.ok(stopping?.type === 'VmStopping');
  assert.equal(stopping.reason?.disk, ultra.disk);
});

test('G10: a stop names every disk that lost its data', () => {
  const events = [...running([os, data, ultra]), ...said(running([os, data, ultra]), lostDisk(data), lostDisk(ultra))];
  const state = fold(events);
  assert.deepEqual(state.status === 'active' && state.blocked.map(({ disk: name }) => name), [data.disk, ultra.disk]);
});

test('G3: once the loss behind an outage is known, it replaces the reason of a machine that is stopping or off', () => {
  const history = running([os, data]);
  const stopping = [...history, ...said(history, lostDisk(data))];
  const off = [...stopping, ...guestStopped(at, 'k')(fold(stopping))];
  for (const events of [stopping, off]) {
    const explained = applyKeyLoss(terms())(fold(events));
    assert.deepEqual(explained, [{ type: 'OutageExplained', loss, disks: [data.disk], at }]);
    const state = fold([...events, ...explained]);
    assert.ok(state.status === 'active');
    assert.deepEqual([stoppingLossOf(state)?.reason, state.blocked[0]?.reason], ['KEY_DISABLED', 'KEY_DISABLED']);
    assert.deepEqual(applyKeyLoss(terms())(state), []);
  }
});

test('G3: a loss before the last unwrap, or after the outage ended, does not replace the reason', () => {
  const history = running([os, data], 7);
  const off = [...history, ...said(history, lostDisk(data))];
  assert.deepEqual(applyKeyLoss(terms())(fold(off)), []);
  const over = [...off, ...keyAccessReturned(at, { set: setOf('des'), keyVersion: version1 })(fold(off))];
  assert.deepEqual(applyKeyLoss(terms({ loss: { ...loss, accessEpoch: 9 } }))(fold(over)), []);
});

test('VM-48: a lost key prevents no power off, deallocation, detach or deletion, whatever state it left a machine in', () => {
  const lost = { ...loss, disk: data.disk };
  const failure = {
    operation: 'start',
    operationId: 's',
    status: 'ABORTED',
    code: 'KEY_DISABLED',
    message: '',
    at,
  } as const;
  const blocking = { type: 'NextStartBlocked', id: 'n', blocked: [lost], at } as const;
  const starting = { type: 'VmStarting', work: work('start', 's'), from: 'deallocated', at } as const;
  const keyStop = { type: 'VmStopping', work: work('keyStop', 'k'), reason: lost, at } as const;
  const histories: Readonly<Record<string, readonly VmEvent[]>> = {
    running: [...running([os, data]), blocking],
    stopped: [...running([os, data]), keyStop, { type: 'VmStopped', reason: lost, at }],
    deallocated: [...deallocatedVm([os, data]), starting, { type: 'VmStartFailed', failure, blocked: [lost], at }],
  };
  const decided = Object.entries(histories).map(([power, history]) => {
    const machine = fold(history);
    assert.ok(machine.status === 'active' && machine.power.state === power && machine.blocked.length === 1);
    const commands = [powerOff(ask(), { isHard: false }), deallocate(ask()), detach(ask(), data.disk), remove(ask())];
    return commands.map((command) => typesOf(command(machine)));
  });
  const anyway = [['DiskDetaching'], ['VmDeleting']];
  assert.deepEqual(decided, [
    [['VmStopping'], ['VmDeallocating'], ...anyway],
    [['VmKeptOff'], ['VmDeallocating'], ...anyway],
    [[], [], ...anyway],
  ]);
});
