import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import {
  allReturnedNote,
  enabledNote,
  holdNote,
  impactNote,
  lostNote,
  machineNote,
  machinesNote,
  madeNote,
  returnedNote,
} from './notes.ts';

const short = (name: string) => name.replace('vaults/', '').replace('/keys', '');
const key = 'vaults/kv1/keys/k1';
const purge = (impacts: readonly JsonObject[], refusedWith = '') =>
  impactNote({ impacts: [...impacts], refusedWith }, { key, action: 'PURGE' }, short);
const lost = { kind: 'DISK_UNREADABLE', resource: 'disks/d1' };
const away = { kind: 'DISK_UNAVAILABLE', resource: 'disks/d2' };

test('a machine that read other bytes than it has written says so first', () => {
  const vm = { name: 'vm1', powerState: 'RUNNING' };
  const note = (contentMismatchCount: string) => machineNote({ ...vm, guestIo: { contentMismatchCount } }, {}, short);
  assert.match(note('2') ?? '', /^CONTENT_MISMATCH: 2 reads returned other bytes than it has written/);
  assert.equal(note('0'), undefined);
  assert.equal(machineNote(vm, {}, short), undefined);
});

test('CMK-108: a preview of a purge counts what becomes unreadable for good', () => {
  const unreadable = /that nobody could ever read again without a backup of the key$/;
  assert.equal(
    purge([lost, { ...lost, kind: 'SNAPSHOT_UNREADABLE' }]),
    'if kv1/k1 were purged: 2 disks and snapshots that nobody could ever read again without a backup of the key',
  );
  assert.match(purge([lost]) ?? '', unreadable);
  const deleted = impactNote({ impacts: [away] }, { key, action: 'DELETE' }, short) ?? '';
  assert.match(deleted, /: 1 disk or snapshot without data$/);
});

test('sets without machines and disks are counted, and machines that start again', () => {
  const loses = (resource: string) => ({ kind: 'SET_LOSES_KEY', resource });
  assert.match(purge([loses('sets/des1')]) ?? '', /: a set would lose its key, and nothing else$/);
  assert.match(
    purge([loses('sets/des1'), loses('sets/des2')]) ?? '',
    /: 2 sets would lose their key, and nothing else$/,
  );
  const stops = (resource: string) => ({ kind: 'VIRTUAL_MACHINE_STOPS', resource, startsAgain: true });
  assert.match(purge([stops('vm1')]) ?? '', /^.*: 1 machine would stop, of which 1 would start again by itself when/);
  assert.match(purge([stops('vm1'), stops('vm2')]) ?? '', /of which 2 would start again by themselves when/);
});

test('that nothing depends on a key says of what, before it is deleted or purged', () => {
  assert.match(
    purge([]) ?? '',
    /nothing depends on it of what disk encryption sets know; of data that somebody wrapped/,
  );
  assert.match(impactNote({ impacts: [] }, { key }, short) ?? '', /: nothing depends on it$/);
  const principal = { principal: 'principals/p', action: 'DELETE' };
  assert.match(impactNote({ impacts: [] }, principal, short) ?? '', /: nothing depends on it$/);
});

test('CMK-102: an ultra disk that keeps its data while its machine runs is not among those without', () => {
  const ultra = { kind: 'DISK_UNAVAILABLE_ONCE_STOPPED', resource: 'disks/u1', sku: 'ULTRA' };
  const disable = (...impacts: JsonObject[]) => impactNote({ impacts }, { key }, short) ?? '';
  assert.match(disable(ultra), /: 1 ultra disk without data once its machine is off$/);
  assert.match(
    disable(ultra, { ...ultra, resource: 'disks/u2' }, away, {
      kind: 'SNAPSHOT_UNAVAILABLE',
      resource: 'snapshots/s1',
    }),
    /: 2 disks and snapshots without data, 2 ultra disks without data once their machines are off$/,
  );
  // An expiry under NEXT_START takes no disk from a machine that runs, of whatever class.
  const premium = { ...ultra, resource: 'disks/p1', sku: 'PREMIUM_SSD' };
  assert.match(disable(premium), /: 1 disk without data once its machine is off$/);
  assert.match(disable(ultra, premium), /: 2 disks without data once their machines are off$/);
});

test('CMK-134: a purge that purge protection forbids is said to be forbidden, whatever would come of it', () => {
  for (const impacts of [[lost], []])
    assert.match(purge(impacts, 'PURGE_PROTECTED') ?? '', /purge protected: nobody can purge it/);
  assert.doesNotMatch(purge([lost]) ?? '', /protected/);
});

test('a key that was there gets a new version, which is said', () => {
  const made = { name: `${key}/versions/${'0'.repeat(32)}` };
  assert.match(
    madeNote({ ...made, versionCount: 2 }, {}, short) ?? '',
    /^kv1\/k1 was there: this is a new version of it, its second\./,
  );
  assert.match(madeNote({ ...made, versionCount: 11 }, {}, short) ?? '', /its 11th/);
  assert.equal(madeNote({ ...made, versionCount: 1 }, {}, short), undefined);
});

test('CMK-125: what stopped a machine is told apart from what keeps it off', () => {
  const vm = { name: 'vm1', stopReason: { reason: 'KEY_DISABLED' } };
  assert.match(returnedNote({ ...vm, keyReturned: true }, {}, short) ?? '', /is over.*interlock vm start vm1$/);
  for (const one of [vm, { ...vm, keyReturned: false }]) assert.equal(returnedNote(one, {}, short), undefined);
  const list = (...virtualMachines: JsonObject[]) => allReturnedNote({ virtualMachines }, {}, short);
  const back = { ...vm, powerState: 'STOPPED', keyReturned: true, stopCause: 'KEY_LOST' };
  assert.match(list(back, vm) ?? '', /^1 machine was stopped or kept off by a lost key that is back/);
  assert.equal(list(vm), undefined);
  for (const powerState of ['STOPPING', 'STARTING', 'DEALLOCATED']) {
    assert.equal(list({ ...back, powerState }), undefined, `--stopped-by-key starts none that is ${powerState}`);
  }
  assert.equal(list({ ...back, stopCause: 'STOP_CAUSE_UNSPECIFIED' }), undefined, 'its user wants it off');
  // Its user stopped it, and a start failed while the key was away.
  const failed = { name: 'vm2', keyReturned: true };
  assert.match(returnedNote(failed, {}, short) ?? '', /^what its last operation failed for is over/);
  assert.equal(list(failed), undefined);
  const failure = { operation: 'start', accessLoss: { reason: 'KEY_DISABLED' } };
  assert.match(
    list({ ...failed, powerState: 'STOPPED', failure }) ?? '',
    /^1 machine was stopped or kept off by a lost key that is back/,
  );
});

test('CMK-102: a machine that runs on without its key says what its next start will fail for, and what helps', () => {
  const loss = {
    reason: 'KEY_DISABLED',
    disk: 'ultra1',
    diskEncryptionSet: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1',
    keyVersion: `${key}/versions/${'0'.repeat(32)}`,
  };
  const vm = { name: 'vm1', powerState: 'RUNNING', nextStartLosses: [loss] };
  const said = machineNote(vm, {}, short) ?? '';
  assert.match(
    said,
    /^it runs on with ultra1, whose key is lost, and its next start will fail: KEY_DISABLED of kv1\/k1/,
  );
  assert.match(said, /\nhint: interlock key enable kv1\/k1/);
  assert.match(
    machineNote({ ...vm, powerState: 'STOPPED' }, {}, short) ?? '',
    /^its next start will fail: KEY_DISABLED/,
  );
  const purged = { ...vm, nextStartLosses: [{ ...loss, reason: 'KEY_PURGED' }] };
  assert.match(
    machineNote(purged, {}, short) ?? '',
    /hint: what is on it can be read in this machine, until that is off/,
  );
  assert.match(
    machineNote({ ...purged, powerState: 'STOPPED' }, {}, short) ?? '',
    /hint: data under it is lost for good, unless a backup of the key exists: interlock key restore /,
  );
  assert.equal(machineNote({ ...vm, nextStartLosses: [] }, {}, short), undefined);
  const list = (...virtualMachines: JsonObject[]) => machinesNote({ virtualMachines }, {}, short);
  assert.match(list(vm, vm, { ...vm, nextStartLosses: [] }) ?? '', /^2 machines run on .* their next start will fail/);
  assert.match(list(vm) ?? '', /^1 machine runs on .* its next start will fail/);
  assert.equal(list({ ...vm, nextStartLosses: [] }), undefined);
  const lost = { stopCause: 'KEY_LOST', stopReason: { reason: 'KEY_DISABLED' } };
  const back = { name: 'vm2', powerState: 'STOPPED', keyReturned: true, ...lost };
  assert.match(
    list(vm, back) ?? '',
    /^1 machine was stopped or kept off by a lost key that is back.*\n1 machine runs on/,
  );
});

test('a machine that is off because its host was restarted says what starts it, alone and in a list', () => {
  const off = { name: 'vm1', powerState: 'STOPPED', stopCause: 'HOST_RESTARTED' };
  assert.equal(returnedNote(off, {}, short), 'what it ran on was restarted: interlock vm start vm1');
  const list = (...virtualMachines: JsonObject[]) => allReturnedNote({ virtualMachines }, {}, short);
  const lines =
    list(off, { ...off, name: 'vm2' }, { ...off, keyReturned: true, stopCause: 'KEY_LOST' })?.split('\n') ?? [];
  assert.match(lines[0] ?? '', /^1 machine was stopped or kept off by a lost key that is back/);
  assert.match(lines[1] ?? '', /^2 machines were stopped when .*: interlock vm start vm1 vm2$/);
  const many = list(...Array.from({ length: 23 }, (_, n) => ({ ...off, name: `vm${n}` })));
  assert.match(many ?? '', /vm19 … \(3 more\)$/);
  assert.equal(list({ ...off, powerState: 'DEALLOCATED' }), undefined);
  const failure = { operation: 'start', accessLoss: { reason: 'KEY_DISABLED' } };
  assert.equal(list({ ...off, failure, keyReturned: false }), undefined, 'a start fails again while the key is lost');
});

test('CMK-05, CMK-37: a set that cannot use its key says what it lacks, and the command that fits its vault', async () => {
  const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1';
  const last = (name: string) => (name === set ? 'des1' : short(name));
  const said = async (state: string, reason: string, vault: JsonObject | Error) => {
    const call = async () => {
      if (vault instanceof Error) throw vault;
      return vault;
    };
    const keyAccess = [{ keyVersion: `${key}/versions/1`, state, reason }];
    return (await lostNote({ name: set, keyAccess }, {}, last, { call }))?.split('\n') ?? [];
  };
  const byPolicy = { permissionModel: 'ACCESS_POLICY', resourceGroup: 'subscriptions/s/resourceGroups/g' };
  const byRole = { ...byPolicy, permissionModel: 'ROLE_ASSIGNMENT' };
  const grant =
    'interlock vault grant kv1 --principal set:des1 --permissions get,wrap-key,unwrap-key --add # without --add that is all it may do then';
  const role =
    'interlock role assign set:des1 keyVaultCryptoServiceEncryptionUser --scope subscriptions/s/resourceGroups/g/vaults/kv1';
  const what = 'it cannot use kv1/k1/versions/1: ';
  assert.deepEqual(await said('LOST', 'ACCESS_DENIED', byPolicy), [`${what}ACCESS_DENIED`, `hint: ${grant}`]);
  assert.deepEqual(await said('LOST', 'ACCESS_DENIED', byRole), [`${what}ACCESS_DENIED`, `hint: ${role}`]);
  const [, gone = ''] = await said('LOST', 'IDENTITY_DELETED', byRole);
  assert.match(gone, /^hint: interlock set update des1 --identity-type system-assigned /);
  assert.ok(gone.endsWith(role));
  const denied = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'not yours to see');
  const [, both = ''] = await said('LOST', 'ACCESS_DENIED', denied);
  assert.match(
    both,
    /^hint: in a vault with access policies interlock vault grant kv1 .*; in one with role assignments /,
  );
  assert.deepEqual(await said('AVAILABLE', 'KEY_ACCESS_REASON_UNSPECIFIED', new Error('nobody is asked')), []);
});

test('CMK-108: a set whose key is purged says that only a backup of the key helps', async () => {
  const call = () => Promise.reject(new Error('no vault is asked'));
  const keyAccess = [{ keyVersion: `${key}/versions/1`, state: 'LOST', reason: 'KEY_PURGED' }];
  const activeKey = { keyVersion: 'vaults/kv3/keys/n/versions/1' };
  const said = await lostNote({ name: 'g/diskEncryptionSets/des1', keyAccess, activeKey }, {}, short, { call });
  assert.match(
    said ?? '',
    /lost for good, unless a backup of the key exists: interlock key restore kv1 --backup @<file>$/,
  );
});

test('what is enabled again is said as it was said of disabling, and what starts machines', () => {
  const versions = (...enabled: boolean[]) => enabled.map((one, n) => ({ name: `${key}/versions/${n}`, enabled: one }));
  const said = (keyVersions: JsonObject[], enabled: string[]) => enabledNote({ keyVersions, enabled }, {}, short);
  assert.match(
    said(versions(true), ['0']) ?? '',
    /^enabled: 1 version, and with that the whole key; .*start by themselves where .* auto restart on; .*the others: interlock vm start --stopped-by-key$/,
  );
  assert.equal(said(versions(true, true), []), 'every version of it was enabled before: nothing has changed');
  assert.match(said(versions(true, false), []) ?? '', /^nothing has changed; disabled by its own name and still so/);
});

test('the identity of a set is said by the set, also where its id was typed', () => {
  const principal = 'principals/3f2a1b4c-0000-4000-8000-0000000000aa';
  const impacts = [{ kind: 'SET_LOSES_KEY', resource: 'sets/des1', diskEncryptionSet: 'des1' }];
  const by = (spoken: string) => (name: string) => (name === principal ? spoken : name);
  assert.match(
    impactNote({ impacts }, { principal }, by('3f2a1b4c')) ?? '',
    /^if all grants of set:des1 \(3f2a1b4c\) were/,
  );
  assert.match(
    impactNote({ impacts }, { principal }, by('set:g/des1 (3f)')) ?? '',
    /^if all grants of set:g\/des1 \(3f\) were/,
  );
  const two = [...impacts, { ...impacts[0], diskEncryptionSet: 'des2' }];
  assert.match(impactNote({ impacts: two }, { principal }, by('3f2a1b4c')) ?? '', /^if all grants of 3f2a1b4c were/);
});

test('a hold says what to look at and what ends it, and its absence that keys may be used', () => {
  const hold = { holdId: 'a1b2', position: '400', reason: 'STORE_WENT_BACK' };
  const asked = holdNote({ hold: { ...hold, reason: 'ASKED_FOR' } }, {}, short) ?? '';
  assert.match(asked, /^nobody may use a key: a setting asks for that\..* where a store was restored.*confirm a1b2$/);
  assert.doesNotMatch(asked, /400/);
  assert.match(holdNote({ hold }, {}, short) ?? '', /after position 400 is back.*interlock hold confirm a1b2$/);
  assert.equal(holdNote({}, {}, short), 'no hold: keys may be used');
});
