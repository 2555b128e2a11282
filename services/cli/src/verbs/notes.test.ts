import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { allReturnedNote, holdNote, impactNote, madeNote, returnedNote } from './notes.ts';

const short = (name: string) => name.replace('vaults/', '').replace('/keys', '');
const key = 'vaults/kv1/keys/k1';
const purge = (impacts: readonly JsonObject[], refusedWith = '') =>
  impactNote({ impacts: [...impacts], refusedWith }, { key, action: 'PURGE' }, short);
const lost = { kind: 'DISK_UNREADABLE', resource: 'disks/d1' };
const kept = { kind: 'DISK_UNAVAILABLE', resource: 'disks/d2' };

test('CMK-108: what a purge takes for good is told apart from what a standby key opens', () => {
  assert.equal(
    purge([lost, kept, { ...lost, kind: 'SNAPSHOT_UNREADABLE' }]),
    'if kv1/k1 were purged: 1 disk or snapshot without data until the set is given another key (their standby key opens them), ' +
      '2 disks and snapshots that nobody could ever read again',
  );
  assert.match(purge([lost]) ?? '', /1 disk or snapshot that nobody could ever read again$/);
  assert.doesNotMatch(purge([kept]) ?? '', /ever read again/);
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
  assert.match(list({ ...vm, keyReturned: true }, vm) ?? '', /^1 machine was stopped by a lost key that is back/);
  assert.equal(list(vm), undefined);
  // Its user stopped it, and a start failed while the key was away.
  const failed = { name: 'vm2', keyReturned: true };
  assert.match(returnedNote(failed, {}, short) ?? '', /^what its last operation failed for is over/);
  assert.equal(list(failed), undefined);
});

test('a hold says what to look at and what ends it, and its absence that keys may be used', () => {
  const hold = { holdId: 'a1b2', position: '400' };
  assert.match(holdNote({ hold }, {}, short) ?? '', /after position 400 is back.*interlock hold confirm a1b2$/);
  assert.equal(holdNote({}, {}, short), 'no hold: keys may be used');
});
