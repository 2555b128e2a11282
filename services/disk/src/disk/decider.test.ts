import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import { failMove, finishMove, noteRemoved } from '../fleet/moving.ts';
import * as attachment from './attachment-decider.ts';
import * as lifeCycle from './decider.ts';
import type { Encryption } from './encryption.ts';
import type { DiskEvent, DiskSpec } from './events.ts';
import { type ActiveDisk, type Disk, disks, evolve, initial, volumesOf } from './state.ts';

const decider = { ...lifeCycle, ...attachment };
const at = 1_000;
const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d';
const [vm, otherVm] = [
  'subscriptions/s/resourceGroups/g/virtualMachines/a',
  'subscriptions/s/resourceGroups/g/virtualMachines/b',
];
const customer: Encryption = { type: 'customer', set };
const volume = {
  volumeId: 'v',
  dekId: 'k',
  dekDiskId: 'u',
  dekAuthenticator: 'a',
  headerSequence: 1,
  headerDigest: 'one',
};
const wrap = { keyVersion: 'vaults/v/keys/k/versions/1', generation: 1 };
const spec: DiskSpec = {
  uniqueId: 'u',
  location: 'l',
  sku: 'premium_ssd',
  sizeGib: 4,
  encryption: customer,
  source: '',
};

type Command = (disk: Disk) => readonly DiskEvent[];
/** A command of an active disk; another is unchanged. */
const onActive =
  (decide: (disk: ActiveDisk) => readonly DiskEvent[]): Command =>
  (disk) =>
    disk.status === 'active' ? decide(disk) : [];
const fold = (events: readonly DiskEvent[]): Disk => events.reduce(evolve, initial);
/** The state after these commands. */
const after = (...commands: readonly Command[]): Disk =>
  commands.reduce((disk: Disk, command) => command(disk).reduce(evolve, disk), initial);
const types = (events: readonly DiskEvent[]): readonly string[] => events.map(({ type }) => type);

/** A request to open with that secret. The hash of its token is `<secret>@<epoch>`. */
const requestOf = (secret: string, before?: number, virtualMachine = vm): attachment.OpenRequest => ({
  virtualMachine,
  tokenHashOf: (attachEpoch) => `${secret}@${attachEpoch}`,
  before,
});

const request = JSON.stringify(spec);
const newVolume = { host: 'disk-0', volumeId: 'v' };
const begun = decider.begin(at, request, newVolume, spec);
const made = decider.finish(at, { uniqueId: 'u', volume, wrap, accessEpoch: 7 });
const attached = decider.attach(at, { virtualMachine: vm, isOsDisk: false, requestId: 'r1' });
const opened = decider.open(at, requestOf('1'), { attachEpoch: 1, accessEpoch: 8 });
const principal = { kind: 'user', id: 'p', name: 'principals/p', tenant: 't' } as const;
const access = decider.beginAccess(at, {
  principal,
  attachEpoch: 1,
  level: 'read',
  tokenHash: 'h',
  expiresAt: at + 10,
  accessEpoch: 8,
});

describe('a disk is created completely or not at all (CMK-110)', () => {
  test('begin and finish create an active disk that is indexed by its set, key version and host', () => {
    const disk = after(begun, made);
    assert.equal(disk.status, 'active');
    assert.deepEqual(disks.indexes?.(disk, 'd'), [
      { index: 'set', value: set },
      { index: 'key_version', value: wrap.keyVersion },
      { index: 'host', value: 'disk-0' },
    ]);
  });
  test('a disk is indexed by its set while it is created, so the set cannot be deleted', () => {
    assert.ok(disks.indexes?.(after(begun), 'd').some(({ index, value }) => index === 'set' && value === set));
  });
  test('a failed creation frees the name, and a late failure does not change an active disk', () => {
    assert.equal(after(begun, decider.fail(at, 'u', 'ACCESS_DENIED')).status, 'absent');
    assert.deepEqual(types(after(begun, made) && decider.fail(at, 'u', 'x')(after(begun, made))), []);
  });
  test('a repeated create request has no effect, and a different one is refused with the fields that differ', () => {
    assert.deepEqual(begun(after(begun, made)), []);
    const other = JSON.stringify({ ...spec, sizeGib: 8, sku: 'ultra' });
    assert.throws(() => decider.begin(at, other, newVolume, spec)(after(begun, made)), {
      reason: 'DISK_ALREADY_EXISTS',
      message: /with another sku, size_gib: choose another disk_id$/,
      metadata: { field: 'disk_id', differs: 'sku, size_gib' },
    });
  });
});

describe('attaching and opening a disk (VM-07, VM-18)', () => {
  test('a disk attached to one machine cannot be attached to another', () => {
    const disk = after(begun, made, attached);
    const other = decider.attach(at, { virtualMachine: otherVm, isOsDisk: false, requestId: 'r2' });
    assert.throws(() => other(disk), { reason: 'DISK_ATTACHED' });
  });
  test('a repeated attach request has no effect after the detach', () => {
    assert.deepEqual(attached(after(begun, made, attached, decider.detach(at, vm))), []);
  });
  test('G5: an attach request that was given up has no effect, even if it arrives later', () => {
    const givenUp = after(begun, made, decider.detach(at, vm, 'r1'));
    assert.deepEqual(attached(givenUp), []);
    assert.deepEqual(decider.detach(at, vm, 'r1')(givenUp), [], 'a repeat');
    const newer = decider.attach(at, { virtualMachine: vm, isOsDisk: false, requestId: 'r2' });
    assert.deepEqual(types(newer(givenUp)), ['DiskAttached']);
    assert.deepEqual(types(decider.detach(at, vm, 'r1')(after(begun, made, attached))), ['DiskDetached']);
  });
  test('G5: giving up an attach request does not detach a newer attachment or another machine', () => {
    const newer = decider.attach(at, { virtualMachine: vm, isOsDisk: false, requestId: 'r2' });
    const again = after(begun, made, attached, decider.detach(at, vm), newer);
    assert.deepEqual(decider.detach(at, vm, 'r1')(again), []);
    const givenUpBefore = after(begun, made, decider.detach(at, vm, 'r1'), newer);
    assert.deepEqual(decider.detach(at, vm, 'r1')(givenUpBefore), []);
    assert.deepEqual(types(decider.detach(at, vm, 'r2')(givenUpBefore)), ['DiskDetached']);
    const others = decider.attach(at, { virtualMachine: otherVm, isOsDisk: false, requestId: 'r3' });
    assert.deepEqual(types(decider.detach(at, vm, 'r1')(after(begun, made, others))), ['AttachGivenUp']);
  });
  test('an open needs the attachment, replaces the open before it, and is refused with an outdated epoch', () => {
    assert.throws(() => opened(after(begun, made)), { reason: 'DISK_NOT_ATTACHED' });
    const again = decider.open(at, requestOf('2'), { attachEpoch: 2, accessEpoch: 9 });
    const disk = after(begun, made, attached, opened, again);
    assert.deepEqual(disk.status === 'active' && disk.access, { by: 'machine', attachEpoch: 2, tokenHash: '2@2' });
    const stale = decider.open(at, requestOf('3'), { attachEpoch: 2, accessEpoch: 9 });
    assert.throws(() => stale(disk), { code: 'ABORTED' });
  });
  test('G5: a repeated open has no effect, however late it arrives', () => {
    const late = decider.open(at, requestOf('1'), { attachEpoch: 2, accessEpoch: 9 });
    assert.deepEqual(late(after(begun, made, attached, opened)), []);
    const newer = decider.open(at, requestOf('2'), { attachEpoch: 2, accessEpoch: 9 });
    assert.deepEqual(types(newer(after(begun, made, attached, opened))), ['DiskOpened']);
  });
  test('G5: an open that was given up does not replace a newer one, however late it arrives', () => {
    const disk = after(begun, made, attached, opened);
    const late = decider.open(at, requestOf('late', 0), { attachEpoch: 2, accessEpoch: 9 });
    assert.throws(() => late(disk), { reason: 'ATTACH_EPOCH_OUTDATED', metadata: { attach_epoch: '1' } });
    assert.throws(() => decider.openable(at, requestOf('late', 0))(disk), { reason: 'ATTACH_EPOCH_OUTDATED' });
    assert.deepEqual(
      decider.open(at, requestOf('1', 0), { attachEpoch: 2, accessEpoch: 9 })(disk),
      [],
      'its own repeat',
    );
    const next = decider.open(at, requestOf('next', 1), { attachEpoch: 2, accessEpoch: 9 });
    assert.deepEqual(types(next(disk)), ['DiskOpened']);
  });
  test('a close does not end a newer open or the open of another machine', () => {
    const again = decider.open(at, requestOf('2'), { attachEpoch: 2, accessEpoch: 9 });
    const disk = after(begun, made, attached, opened, again);
    assert.deepEqual(decider.close(at, vm, true, 1)(disk), []);
    assert.deepEqual(decider.close(at, otherVm, true, 0)(disk), []);
    assert.deepEqual(types(decider.close(at, vm, true, 2)(disk)), ['DiskClosed']);
  });
  test('a disk is reserved if its machine is deallocated after the close', () => {
    const disk = after(begun, made, attached, opened, decider.close(at, vm, false, 1), decider.close(at, vm, true, 1));
    assert.equal(disk.status === 'active' && disk.holder?.isDeallocated, true);
  });
  test('CMK-61: an ultra disk cannot be an OS disk', () => {
    const ultra = decider.begin(at, request, newVolume, { ...spec, sku: 'ultra' });
    const asOsDisk = decider.attach(at, { virtualMachine: vm, isOsDisk: true, requestId: 'r' });
    assert.throws(() => asOsDisk(after(ultra, made)), { reason: 'OS_DISK_NOT_SUPPORTED' });
  });
});

describe('direct access', () => {
  test('prevents attachments until it expires or is ended', () => {
    const disk = after(begun, made, access);
    assert.throws(() => attached(disk), { reason: 'DISK_IN_ACTIVE_ACCESS' });
    const later = decider.attach(at + 10, { virtualMachine: vm, isOsDisk: false, requestId: 'r1' });
    assert.deepEqual(types(later(disk)), ['DiskAttached']);
    assert.deepEqual(types(attached(after(begun, made, access, decider.endAccess(at)))), ['DiskAttached']);
  });
  test('ending a replaced access does not end the newer one', () => {
    const next = {
      principal,
      attachEpoch: 2,
      level: 'read',
      tokenHash: 'h2',
      expiresAt: at + 10,
      accessEpoch: 0,
    } as const;
    const disk = after(begun, made, access, decider.beginAccess(at, next));
    assert.deepEqual(decider.endAccess(at, 'h')(disk), []);
    assert.deepEqual(types(decider.endAccess(at, next.tokenHash)(disk)), ['AccessEnded']);
  });
  test('is refused while a machine is allocated, and allowed when it is not', () => {
    assert.throws(() => access(after(begun, made, attached)), { reason: 'DISK_ATTACHED' });
    const deallocated = after(begun, made, attached, decider.close(at, vm, true, 0));
    assert.deepEqual(types(access(deallocated)), ['AccessBegun']);
  });
});

describe('changing the class (VM-26)', () => {
  const day = 86_400_000;
  const toSsd = (time: number) => decider.changeSku(time, 'standard_ssd');
  const toPremium = (time: number) => decider.changeSku(time, 'premium_ssd');
  test('VM-26: is refused while the disk is attached, and allowed if it is unattached or its machine deallocated', () => {
    const stopped = after(begun, made, attached, opened, decider.close(at, vm, false, 0));
    for (const disk of [after(begun, made, attached), stopped])
      assert.throws(() => toSsd(at)(disk), { reason: 'DISK_ATTACHED' });
    const deallocated = after(begun, made, attached, decider.close(at, vm, true, 0), toSsd(at));
    assert.ok(deallocated.status === 'active' && deallocated.sku === 'standard_ssd');
    assert.deepEqual(toPremium(at)(after(begun, made)), [], 'the class that it has');
  });
  test('VM-26: is allowed twice in a day, and a third time one day after the first', () => {
    const twice = after(begun, made, toSsd(at), toPremium(at + 5));
    assert.throws(() => toSsd(at + day - 1)(twice), { reason: 'DISK_SKU_CHANGED_TWICE' });
    assert.deepEqual(types(toSsd(at + day)(twice)), ['DiskSkuChanged']);
  });
  test('VM-26: an Ultra disk cannot change its class, and no other disk can become Ultra', () => {
    assert.throws(() => decider.changeSku(at, 'ultra')(after(begun, made)), {
      reason: 'DISK_SKU_CHANGE_NOT_SUPPORTED',
    });
    const ultra = after(decider.begin(at, request, newVolume, { ...spec, sku: 'ultra' }), made);
    assert.throws(() => toSsd(at)(ultra), { reason: 'DISK_SKU_CHANGE_NOT_SUPPORTED' });
  });
});

describe('changing the encryption (CMK-53, CMK-54, VM-25, VM-32)', () => {
  const platform: Encryption = { type: 'platform' };
  const changing = decider.beginChange(at, platform, 'v2');
  test('is refused with the text that tools match on while attached, also to a stopped machine', () => {
    const stopped = after(begun, made, attached, opened, decider.close(at, vm, false, 0));
    for (const disk of [after(begun, made, attached, opened), stopped]) {
      assert.throws(
        () => changing(disk),
        (error: Rejection) => {
          assert.match(error.message, /^Cannot change Encryption Setting of disk/);
          // The decider does not know whether the machine runs, and it does not matter.
          assert.match(error.message, /not deallocated: a machine that is only stopped still holds its disks/);
          assert.doesNotMatch(error.message, /running/);
          assert.equal(error.reason, 'DISK_ATTACHED');
          return true;
        },
      );
    }
  });
  test('CMK-62: is allowed while deallocated; until it ends, both sets are in use and other changes are refused', () => {
    const other: Encryption = { type: 'customer', set: `${set}2` };
    const disk = after(begun, made, attached, decider.close(at, vm, true, 0), decider.beginChange(at, other, 'v2'));
    const sets = disks.indexes?.(disk, 'd').filter(({ index }) => index === 'set');
    assert.deepEqual(
      sets?.map(({ value }) => value),
      [set, `${set}2`],
    );
    const underWay = after(begun, made, decider.beginChange(at, other, 'v2'));
    assert.deepEqual(decider.beginChange(at, other, 'v3')(underWay), [], 'the same change again');
    for (const another of [changing, attached, access, decider.growable(5)]) {
      assert.throws(() => another(underWay), { code: 'ABORTED', reason: 'DISK_CHANGING' });
    }
    const removed = decider.remove(at)(underWay).reduce(evolve, underWay);
    assert.ok(removed.status === 'deleting');
    assert.deepEqual(volumesOf(removed), [volume.volumeId, 'v2'], 'the unfinished copy is deleted with the disk');
  });
  test('finishes with the new wrap, or leaves the disk unchanged and its copy marked for removal', () => {
    const changed = {
      volume: { ...volume, headerSequence: 2, headerDigest: 'two' },
      wrap: { keyVersion: '', generation: 0 },
      accessEpoch: 0,
    };
    const [event] = decider.finishChange(at, 'v2', changed)(after(begun, made, changing));
    assert.ok(event?.type === 'DiskEncryptionChanged' && event.previousSet === set);
    const failed = after(begun, made, changing, decider.failChange(at, 'v2', 'KEY_DISABLED'));
    const former = { host: 'disk-0', volumeId: 'v2', leftBy: 'encryption' };
    assert.deepEqual(failed, { ...after(begun, made), former });
    const removed = after(
      begun,
      made,
      changing,
      decider.failChange(at, 'v2', 'KEY_DISABLED'),
      onActive((disk) => noteRemoved(disk, at, 'v2')),
    );
    assert.deepEqual(removed, after(begun, made));
  });
  test('G5: a late finish or failure of an earlier change, as of a replaced host, does not end a later change', () => {
    const later = after(
      begun,
      made,
      changing,
      decider.failChange(at, 'v2', 'INTERRUPTED'),
      decider.beginChange(at, platform, 'v3'),
    );
    const ofEarlier = {
      volume: { ...volume, volumeId: 'v2' },
      wrap: { keyVersion: '', generation: 0 },
      accessEpoch: 0,
    };
    assert.throws(() => decider.finishChange(at, 'v2', ofEarlier)(later), { code: 'ABORTED', reason: 'DISK_CHANGED' });
    assert.deepEqual(decider.failChange(at, 'v2', 'KEY_DISABLED')(later), []);
  });
});

test('a disk that moves is not grown, re-encrypted or deleted meanwhile; an open or a direct access ends the move', () => {
  const moving = decider.move(at, 'disk-1', 'moved');
  const closed = after(begun, made, moving);
  for (const refused of [decider.growable(5), decider.beginChange(at, { type: 'platform' }, 'v2'), decider.remove(at)])
    assert.throws(() => refused(closed), { code: 'ABORTED', reason: 'DISK_MOVING' });
  assert.deepEqual(types(access(closed)), ['VolumeMoveFailed', 'AccessBegun']);
  const ofMachine = after(begun, made, attached, moving);
  assert.deepEqual(types(opened(ofMachine)), ['VolumeMoveFailed', 'DiskOpened']);
  const open = after(begun, made, attached, opened);
  assert.deepEqual(types(moving(open)), ['VolumeMoving'], 'it moves under its open');
  assert.throws(() => moving({ ...open, sku: 'ultra' } as Disk), { reason: 'DISK_OPEN' });
  assert.throws(() => moving(after(begun, made, access)), { reason: 'DISK_OPEN' });
  const left = after(
    begun,
    made,
    moving,
    onActive((disk) => failMove(disk, at, 'moved', 'STORAGE_FULL')),
  );
  assert.throws(() => decider.remove(at)(left), { code: 'ABORTED', reason: 'DISK_MOVING' });
});

describe('growing (VM-27, VM-28)', () => {
  test('a disk cannot shrink, and an OS disk cannot grow while its machine is allocated', () => {
    assert.throws(() => decider.growable(3)(after(begun, made)), { reason: 'DISK_CANNOT_SHRINK' });
    const os = after(begun, made, decider.attach(at, { virtualMachine: vm, isOsDisk: true, requestId: 'r' }));
    const told = /^Cannot resize disk while it is the OS disk of \S+ and that is not deallocated/;
    assert.throws(() => decider.growable(5)(os), { reason: 'DISK_ATTACHED', message: told });
    assert.equal(decider.growable(5)(after(begun, made, attached)).sizeGib, 4);
  });
});

test('CMK-132: a disk can be deleted whenever it is not attached', () => {
  assert.throws(() => decider.remove(at)(after(begun, made, attached)), { reason: 'DISK_ATTACHED' });
  const disk = after(begun, made, decider.remove(at));
  assert.throws(() => attached(disk), { reason: 'DISK_DELETING' });
  assert.equal(after(begun, made, decider.remove(at), decider.gone(at)).status, 'absent');
});

test('CMK-14, CMK-15: a rewrap names the previous key version, and a repeat with the same header has no effect', () => {
  const next = { keyVersion: 'vaults/v/keys/k/versions/2', generation: 2 };
  const rewrapped = decider.rewrap(at, next, { volumeId: 'v', headerSequence: 2, headerDigest: 'two' }, 9);
  const [event] = rewrapped(after(begun, made));
  assert.ok(event?.type === 'DekRewrapped' && event.previousKeyVersion === wrap.keyVersion);
  assert.deepEqual(rewrapped(after(begun, made, rewrapped)), []);
});

test('G5: a late rewrap or grow from a replaced host is refused if the disk has another volume by now', () => {
  const header = { volumeId: 'v', headerSequence: 2, headerDigest: 'two' };
  const rewrapped = decider.rewrap(at, { keyVersion: 'vaults/v/keys/k/versions/2', generation: 2 }, header, 9);
  const late = [rewrapped, decider.grow(at, 8, header)];
  const remade = { uniqueId: 'u2', volume: { ...volume, volumeId: 'v2' }, wrap, accessEpoch: 7 };
  const again = decider.begin(at, request, { ...newVolume, volumeId: 'v2' }, { ...spec, uniqueId: 'u2' });
  const disk = after(begun, made, decider.remove(at), decider.gone(at), again, decider.finish(at, remade));
  for (const decide of late) assert.throws(() => decide(disk), { code: 'ABORTED', reason: 'DISK_CHANGED' });
  // For the same volume, a newer header wins.
  const next = { keyVersion: 'vaults/v/keys/k/versions/3', generation: 3 };
  const since = after(begun, made, decider.rewrap(at, next, { ...header, headerSequence: 3 }, 9));
  assert.deepEqual(rewrapped(since), []);
});

const commands: fc.Arbitrary<Command> = fc
  .record({
    time: fc.integer({ min: 0, max: 30 }),
    machine: fc.constantFrom(vm, otherVm),
    flag: fc.boolean(),
    number: fc.integer({ min: 0, max: 6 }),
    text: fc.constantFrom('a', 'b'),
    encryption: fc.constantFrom<Encryption>({ type: 'platform' }, customer, { type: 'double', set }),
    sku: fc.constantFrom('standard_hdd', 'ultra' as const),
    kind: fc.integer({ min: 0, max: 16 }),
  })
  .map(({ time, machine, flag, number, text, encryption, sku, kind }) => {
    const ref = { keyVersion: text, generation: number };
    const next = { ...volume, volumeId: flag ? volume.volumeId : text, headerSequence: number };
    const all: readonly Command[] = [
      decider.begin(time, JSON.stringify({ location: text }), newVolume, { ...spec, sku, encryption }),
      decider.finish(time, { uniqueId: 'u', volume, wrap: ref, accessEpoch: number }),
      decider.fail(time, 'u', text),
      decider.attach(time, { virtualMachine: machine, isOsDisk: flag, requestId: text }),
      decider.open(time, requestOf(text, flag ? number : undefined, machine), {
        attachEpoch: number,
        accessEpoch: number,
      }),
      decider.close(time, machine, flag, number),
      decider.detach(time, machine),
      decider.beginAccess(time, {
        principal,
        attachEpoch: number,
        level: 'write',
        tokenHash: text,
        expiresAt: time + number,
        accessEpoch: 1,
      }),
      decider.endAccess(time),
      decider.beginChange(time, encryption, text),
      decider.finishChange(time, text, { volume: next, wrap: ref, accessEpoch: 1 }),
      decider.failChange(time, text, 'KEY_DISABLED'),
      decider.move(time, text, `${text} moved`),
      onActive((disk) => finishMove(disk, time, `${text} moved`, number)),
      onActive((disk) => failMove(disk, time, `${text} moved`, 'INTERRUPTED')),
      onActive((disk) => noteRemoved(disk, time, flag ? volume.volumeId : text)),
      decider.rewrap(time, ref, next, 1),
      decider.grow(time, number, next),
      decider.remove(time),
      decider.gone(time),
    ];
    return all[kind] ?? decider.gone(time);
  });

/** The events of a command, or none when it is refused. */
const attempt = (command: Command, disk: Disk): readonly DiskEvent[] => {
  try {
    return command(disk);
  } catch (error) {
    if (error instanceof Rejection) return [];
    throw error;
  }
};

test('a repeated command has no effect, and the state stays JSON', () => {
  fc.assert(
    fc.property(fc.array(commands, { maxLength: 25 }), commands, (history, command) => {
      const disk = history.reduce((state: Disk, each) => attempt(each, state).reduce(evolve, state), initial);
      const events = attempt(command, disk);
      const then = events.reduce(evolve, disk);
      assert.deepEqual(attempt(command, then), []);
      assert.deepEqual(JSON.parse(JSON.stringify(then)), then);
    }),
    { numRuns: 2_000 },
  );
});

test('evolve accepts any events in any order', () => {
  const events = fc.array(
    commands.chain((command) =>
      fc
        .constantFrom(...[after(begun), after(begun, made), after(begun, made, attached)])
        .map((disk) => attempt(command, disk)),
    ),
    { maxLength: 20 },
  );
  fc.assert(fc.property(events, (lists) => assert.ok(fold(lists.flat()).status)));
});

test('a disk is listed under the host that has it; one whose events name no host is on the first host', () => {
  const hostsOf = (disk: Disk) => disks.indexes?.(disk, 'd').filter(({ index }) => index === 'host');
  const elsewhere = decider.begin(at, request, { host: 'disk-7', volumeId: 'v' }, spec);
  for (const disk of [after(elsewhere), after(elsewhere, made), after(elsewhere, made, decider.remove(at))])
    assert.deepEqual(hostsOf(disk), [{ index: 'host', value: 'disk-7' }]);
  const old = fold([{ type: 'DiskCreating', ...spec, volumeId: 'v', request, at }]);
  assert.deepEqual(hostsOf(old), [{ index: 'host', value: 'disk-0' }]);
  assert.deepEqual(hostsOf(made(old).reduce(evolve, old)), [{ index: 'host', value: 'disk-0' }]);
});
