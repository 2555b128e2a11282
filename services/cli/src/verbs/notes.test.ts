import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { diskHostImpactNote, diskNote, holdNote, impactNote, leasesNote, machineNote, setNote } from './notes.ts';

const short = (name: string) => name.replace('vaults/', '').replace('/keys', '');
const key = 'vaults/kv1/keys/k1';
const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1';
const purge = (impacts: readonly JsonObject[], refusedWith = '') =>
  impactNote({ impacts: [...impacts], refusedWith }, { key, action: 'PURGE' }, short) ?? '';
const lost = { kind: 'DISK_UNREADABLE', resource: 'disks/d1' };
const away = { kind: 'DISK_UNAVAILABLE', resource: 'disks/d2' };

test('a machine that read other bytes than were written shows the mismatches', () => {
  const vm = { name: 'vm1', powerState: 'RUNNING' };
  const note = (contentMismatchCount: string) => machineNote({ ...vm, guestIo: { contentMismatchCount } }, {}, short);
  assert.match(note('2') ?? '', /^CONTENT_MISMATCH: 2 reads returned other bytes than were written/);
  assert.equal(note('0'), undefined);
  assert.equal(machineNote(vm, {}, short), undefined);
});

test('G10: a list of leases names the disk hosts that it is missing', () => {
  const host = (name: string) => name.replace('diskHosts/', '');
  assert.equal(leasesNote({ leases: [], unreachable: [] }, {}, host), undefined);
  const note = leasesNote({ leases: [], unreachable: ['diskHosts/disk-1', 'diskHosts/disk-2'] }, {}, host);
  assert.match(note ?? '', /^not listed: the leases of disk-1, disk-2, which do not respond; .*\nhelp: /);
});

test('the impact of a disk host counts machines, disks, snapshots and sets, each once', () => {
  const host = (name: string) => name.replace('diskHosts/', '');
  const resources = [
    { name: 'g/disks/a', virtualMachine: 'vm1', diskEncryptionSet: 'des1' },
    { name: 'g/disks/b', virtualMachine: 'vm1', diskEncryptionSet: 'des2' },
    { name: 'g/disks/c', virtualMachine: '', diskEncryptionSet: '' },
    { name: 'g/snapshots/s', virtualMachine: '', diskEncryptionSet: 'des1' },
  ];
  const noteOf = (all: readonly JsonObject[]) =>
    diskHostImpactNote({ resources: [...all] }, { name: 'diskHosts/disk-1' }, host) ?? '';
  assert.match(noteOf(resources), /^depends on disk-1: 1 machine, 3 disks, 1 snapshot, 2 sets\. /);
  assert.equal(noteOf([]), 'nothing depends on disk-1');
});

test('G10: a machine that is off, and a disk that is unavailable, name the disk host', () => {
  const loss = { reason: 'KEY_DISABLED', disk: 'd1', keyVersion: key, diskHost: 'disk-2' };
  const noteOf = (machine: JsonObject) =>
    machineNote({ name: 'vm1', powerState: 'STOPPED', ...machine }, {}, short) ?? '';
  assert.match(noteOf({ stopReason: loss }), /^stopped: KEY_DISABLED, of the disk d1 at the disk host disk-2\nhelp: /);
  assert.match(
    noteOf({ nextStartLosses: [loss] }),
    /will fail: KEY_DISABLED of kv1\/k1, of the disk d1 at the disk host disk-2/,
  );
  assert.match(
    noteOf({ stopReason: { ...loss, diskHost: '' } }),
    /^stopped: KEY_DISABLED\n/,
    'as of an earlier release',
  );
  const disk = { availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED', diskHost: 'disk-2' };
  assert.equal(diskNote(disk, {}, short), 'unavailable: KEY_DISABLED, at the disk host disk-2');
  const away = { availability: 'AVAILABLE', diskHost: 'disk-2', diskHostState: 'HOST_UNREACHABLE' };
  assert.match(
    diskNote(away, {}, short) ?? '',
    /^its disk host disk-2 does not respond\nhelp: .*interlock disk-host list/,
  );
  assert.equal(diskNote({ ...away, diskHostState: 'HOST_SERVING' }, {}, short), undefined);
});

test('CMK-108: a preview of a purge counts disks and snapshots that become unreadable for good', () => {
  assert.match(
    purge([lost, { ...lost, kind: 'SNAPSHOT_UNREADABLE' }]),
    /^if kv1\/k1 were purged: 2 disks and snapshots unreadable for good without a backup of the key; /,
  );
  const deleted = impactNote({ impacts: [away] }, { key, action: 'DELETE' }, short) ?? '';
  assert.match(deleted, /: 1 disk or snapshot without data; /);
});

test('a preview counts sets without machines, and machines that restart', () => {
  const loses = (resource: string) => ({ kind: 'SET_LOSES_KEY', resource });
  assert.match(purge([loses('sets/des1')]), /: 1 set would lose access, no disks or machines; /);
  assert.match(purge([loses('sets/des1'), loses('sets/des2')]), /: 2 sets would lose access/);
  const stops = (resource: string) => ({ kind: 'VIRTUAL_MACHINE_STOPS', resource, startsAgain: true });
  assert.match(purge([stops('vm1')]), /: 1 machine would stop \(1 would restart when the key is back\); /);
});

test('a preview of a deletion says that other wrapped data is not counted', () => {
  assert.match(purge([]), /: nothing depends on it; data wrapped outside of disk encryption sets is not counted$/);
  assert.match(impactNote({ impacts: [] }, { key }, short) ?? '', /: nothing depends on it$/);
  const principal = { principal: 'principals/p', action: 'DELETE' };
  assert.match(impactNote({ impacts: [] }, principal, short) ?? '', /: nothing depends on it$/);
});

test('CMK-102: a preview counts disks that keep their data until their machine stops separately', () => {
  const ultra = { kind: 'DISK_UNAVAILABLE_ONCE_STOPPED', resource: 'disks/u1', sku: 'ULTRA' };
  const disable = (...impacts: JsonObject[]) => impactNote({ impacts }, { key }, short) ?? '';
  assert.match(disable(ultra), /: 1 disk without data once the machine is off$/);
  assert.match(
    disable(ultra, { ...ultra, resource: 'disks/u2' }, away, { kind: 'SNAPSHOT_UNAVAILABLE', resource: 's1' }),
    /: 2 disks and snapshots without data, 2 disks without data once the machine is off$/,
  );
});

test('CMK-134: a preview says that purge protection refuses the purge', () => {
  for (const impacts of [[lost], []])
    assert.match(purge(impacts, 'PURGE_PROTECTED'), /; purge protection refuses this/);
  assert.doesNotMatch(purge([lost]), /protection/);
});

test('CMK-125: a stopped machine shows what stopped it; after the key is back, how to start it', () => {
  const stopReason = { reason: 'KEY_DISABLED', keyVersion: `${key}/versions/1`, disk: 'd1', diskEncryptionSet: set };
  const vm = { name: 'vm1', powerState: 'STOPPED', stopReason };
  assert.match(
    machineNote(vm, {}, short) ?? '',
    /^stopped: KEY_DISABLED\nhelp: Enable the key: interlock key enable vaults\/kv1/,
  );
  assert.equal(
    machineNote({ ...vm, keyReturned: true }, {}, short),
    'the cause of the stop is over: interlock vm start vm1',
  );
  const off = { name: 'vm1', powerState: 'STOPPED', stopCause: 'HOST_RESTARTED' };
  assert.match(machineNote(off, {}, short) ?? '', /interlock vm start vm1$/);
});

test('CMK-102: a machine whose next start will fail shows why and what helps', () => {
  const loss = { reason: 'KEY_DISABLED', disk: 'ultra1', diskEncryptionSet: set, keyVersion: `${key}/versions/0` };
  const vm = { name: 'vm1', powerState: 'RUNNING', nextStartLosses: [loss] };
  assert.match(
    machineNote(vm, {}, short) ?? '',
    /^the next start will fail: KEY_DISABLED of kv1\/k1\/versions\/0\nhelp: Enable the key: /,
  );
  const purged = { ...vm, nextStartLosses: [{ ...loss, reason: 'KEY_PURGED' }] };
  assert.match(machineNote(purged, {}, short) ?? '', /help: .*still runs.* copy/);
  assert.equal(machineNote({ ...vm, nextStartLosses: [] }, {}, short), undefined);
});

test('CMK-05, CMK-37: a set that cannot use its key shows what it lacks, and the commands that help', () => {
  const note = (state: string, reason: string) =>
    setNote({ name: set, keyAccess: [{ keyVersion: `${key}/versions/1`, state, reason }] }, {}, short);
  assert.match(
    note('LOST', 'ACCESS_DENIED') ?? '',
    /^access lost to kv1\/k1\/versions\/1: ACCESS_DENIED\nhelp: .*interlock vault grant vaults\/kv1 --principal set:\S+des1 --permissions get,wrap-key,unwrap-key/,
  );
  assert.match(note('LOST', 'IDENTITY_DELETED') ?? '', /interlock set update \S+des1 --identity-type system-assigned/);
  assert.equal(note('AVAILABLE', 'KEY_ACCESS_REASON_UNSPECIFIED'), undefined);
});

test('CMK-108: a set whose key is purged shows that only a backup of the key helps', () => {
  const keyAccess = [{ keyVersion: `${key}/versions/1`, state: 'LOST', reason: 'KEY_PURGED' }];
  const activeKey = { keyVersion: 'vaults/kv3/keys/n/versions/1' };
  assert.match(
    setNote({ name: set, keyAccess, activeKey }, {}, short) ?? '',
    /key restore vaults\/kv1 --backup @<file>$/,
  );
});

test('a preview names the principal whose grants are revoked', () => {
  const principal = 'principals/3f2a1b4c-0000-4000-8000-0000000000aa';
  const by = (name: string) => (name === principal ? 'set:g/des1 (3f)' : name);
  assert.match(
    impactNote({ impacts: [] }, { principal }, by) ?? '',
    /^if all grants of set:g\/des1 \(3f\) were revoked/,
  );
});

test('a hold shows its cause and what ends it; without one keys may be used', () => {
  const hold = { holdId: 'a1b2', position: '400', knownPosition: '420', reason: 'STORE_WENT_BACK' };
  const requested = holdNote({ hold: { ...hold, reason: 'ASKED_FOR' } }, {}, short) ?? '';
  assert.match(requested, /^no key may be used: the setting HOLD requests it\n.*confirm a1b2$/);
  assert.match(
    holdNote({ hold }, {}, short) ?? '',
    /ends at position 400 and had reached 420: it was restored, or it is another database\n.*interlock hold confirm a1b2$/,
  );
  assert.equal(holdNote({}, {}, short), 'no hold: keys may be used');
});
