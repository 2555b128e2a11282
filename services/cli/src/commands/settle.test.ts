import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { helpFor } from '@interlock/rpc';
import { NotSettled } from '../problems.ts';
import { sleepingClock } from '../session/test-session.ts';
import { type SettleOptions, settle } from './settle.ts';

function watched(...states: readonly (JsonObject | Error)[]): SettleOptions & { readonly said: string[] } {
  const left = [...states];
  const said: string[] = [];
  const clock = sleepingClock();
  return {
    get: async () => {
      const next = left.length > 1 ? left.shift() : left[0];
      if (next === undefined || next instanceof Error) throw next ?? new Error('asked too often');
      return next;
    },
    clock,
    timeoutMs: 5_000,
    startedMs: clock.monotonicMs(),
    mustRun: false,
    isDeletion: false,
    report: (state) => said.push(state),
    said,
  };
}

const gone = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', '');

test('settle waits while a resource is updating, and reports each state once', async () => {
  const options = watched(
    { provisioningState: 'UPDATING' },
    { provisioningState: 'UPDATING' },
    { provisioningState: 'SUCCEEDED' },
  );
  assert.deepEqual(await settle({ provisioningState: 'UPDATING' }, options), { provisioningState: 'SUCCEEDED' });
  assert.deepEqual(options.said, ['UPDATING', 'SUCCEEDED']);
});

test('a settled resource is not read again', async () => {
  await settle({ provisioningState: 'SUCCEEDED', powerState: 'RUNNING' }, watched());
});

test('settle waits for the key access of a new set, and gives up if the vault reports none', async () => {
  const blank = { provisioningState: 'SUCCEEDED', keyAccess: [{ keyVersion: 'v' }] };
  const lost = { provisioningState: 'SUCCEEDED', keyAccess: [{ keyVersion: 'v', state: 'LOST' }] };
  assert.deepEqual(await settle(blank, watched(blank, lost)), lost);
  assert.deepEqual(
    await settle(blank, { ...watched(blank), timeoutMs: 60_000 }),
    blank,
    'a vault that gives no answer',
  );
});

test('a deletion has settled when the resource is not found', async () => {
  const options = { ...watched({ name: 'vm', provisioningState: 'DELETING' }, gone), isDeletion: true };
  assert.deepEqual(await settle({ name: 'vm', provisioningState: 'DELETING' }, options), { name: 'vm', deleted: true });
  await assert.rejects(settle({ provisioningState: 'UPDATING' }, watched(gone)), gone);
});

test('a machine that must run fails with the reason if a key has stopped it', async () => {
  const stopped = { provisioningState: 'SUCCEEDED', powerState: 'STOPPED', stopReason: { reason: 'KEY_EXPIRED' } };
  await assert.rejects(settle(stopped, { ...watched(), mustRun: true }), reason('KEY_EXPIRED'));
  await settle(stopped, watched());
});

test('VM-48: a stop ignores an earlier failure; a new failure, and one that keeps a machine from running, is an error', async () => {
  const failureAt = (failureTime: string) => ({ operation: 'start', code: 'KEY_DISABLED', failureTime });
  const off = {
    provisioningState: 'FAILED',
    powerState: 'STOPPED',
    failure: failureAt('2026-01-01T00:00:00Z'),
  };
  const later = { ...off, failure: failureAt('2026-01-01T00:01:00Z') };
  assert.deepEqual(await settle(off, watched()), off, 'it is off already');
  const stopping = { ...off, provisioningState: 'UPDATING', powerState: 'STOPPING' };
  assert.deepEqual(await settle(stopping, watched(off)), off);
  await assert.rejects(settle(stopping, watched(later)), reason('KEY_DISABLED'));
  await assert.rejects(settle(off, { ...watched(), mustRun: true }), reason('KEY_DISABLED'));
  const running = { ...off, powerState: 'RUNNING' };
  assert.deepEqual(await settle(running, { ...watched(), mustRun: true }), running);
  await assert.rejects(settle(off, { ...watched(), isDeletion: true }), reason('KEY_DISABLED'));
  const timeless = { provisioningState: 'FAILED', failure: { code: 'KEY_DISABLED' } };
  await assert.rejects(settle(timeless, watched()), reason('KEY_DISABLED'), 'what says no time may be new');
});

test('a wait that takes too long fails with TIMEOUT, a waiting rotation with its reason', async () => {
  await assert.rejects(
    settle({ provisioningState: 'UPDATING' }, watched({ provisioningState: 'UPDATING' })),
    reason('TIMEOUT'),
  );
  const rotation = {
    state: 'WAITING',
    waitingReason: 'KEY_DISABLED',
    waitingForKeyVersion: 'vaults/v/keys/k/versions/0',
  };
  const waiting = { provisioningState: 'UPDATING', rotation };
  await assert.rejects(settle(waiting, watched(waiting)), reason('KEY_DISABLED'));
});

test('a rotation that waits for another reason than a lost key fails with it, and with help', async () => {
  const version = 'vaults/weak/keys/k/versions/0';
  const rotation = {
    state: 'WAITING',
    waitingReason: 'KEY_ACCESS_REASON_UNSPECIFIED',
    waitingCode: 'TARGET_WEAKER_PROTECTED',
    waitingForKeyVersion: version,
  };
  const name = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1';
  const waiting = { name, provisioningState: 'UPDATING', activeKey: { keyVersion: version }, rotation };
  const options = watched(waiting);
  const error = await settle(waiting, options).catch((failure: unknown) => failure);
  assert.ok(error instanceof NotSettled && error.reason === 'TARGET_WEAKER_PROTECTED', String(error));
  assert.deepEqual(options.said, ['UPDATING', `waits for ${version}: TARGET_WEAKER_PROTECTED`]);
  const help = helpFor(error.reason, error.metadata);
  assert.match(help ?? '', /interlock vault enable-purge-protection vaults\/weak\).* set assign-key .*des1 --key /);
});

test('G10: a rotation that waits for a disk host names it', async () => {
  const rotation = {
    state: 'WAITING',
    waitingCode: 'DISK_HOST_UNREACHABLE',
    waitingForKeyVersion: 'vaults/v/keys/k/versions/0',
    unreachableDiskHosts: ['diskHosts/disk-host-3'],
  };
  const waiting = { provisioningState: 'UPDATING', rotation };
  const options = watched(waiting);
  await assert.rejects(settle(waiting, options), /waits for diskHosts\/disk-host-3 and continues when it responds/);
  assert.deepEqual(options.said, ['UPDATING', 'waits for diskHosts/disk-host-3: DISK_HOST_UNREACHABLE']);
});

test('a rotation that needs an owner is reported at once, and the wait ends within 5 s with help', async () => {
  const rotationOf = (waitingReason: string) => ({
    state: 'WAITING',
    waitingReason,
    waitingForKeyVersion: 'vaults/v/keys/k/versions/0',
    doneCount: 1,
    resourcesCount: 3,
  });
  const setOf = (waitingReason: string) => ({
    name: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1',
    provisioningState: 'UPDATING',
    activeKey: { keyVersion: 'vaults/v/keys/other/versions/1' },
    rotation: rotationOf(waitingReason),
  });
  const said: string[] = [];
  const clock = sleepingClock();
  const startedMs = clock.monotonicMs();
  const patient = {
    ...watched(setOf('KEY_DISABLED')),
    clock,
    timeoutMs: 120_000,
    report: (state: string) => said.push(state),
  };
  const error = await settle(setOf('KEY_DISABLED'), patient).catch((failure: unknown) => failure);
  assert.ok(error instanceof NotSettled && error.reason === 'KEY_DISABLED', String(error));
  assert.match(
    error.message,
    /^UPDATING: 1 of 3 disks and snapshots are moved\. The rotation waits for vaults\/v\/keys\/k\//,
  );
  assert.equal(error.metadata.assigned, 'vaults/v/keys/other/versions/1');
  assert.ok(clock.monotonicMs() - startedMs < 5_000, `after ${clock.monotonicMs() - startedMs} ms`);
  assert.deepEqual(said, ['UPDATING', 'waits for vaults/v/keys/k/versions/0: KEY_DISABLED']);
  const help = helpFor(error.reason, error.metadata);
  assert.match(
    help ?? '',
    /interlock key enable vaults\/v\/keys\/k \(.* set assign-key \S+des1 --key vaults\/v\/keys\/other\S+ --as-key-owner$/,
  );
  // A reason that ends by itself is waited for, and so is one that is over at the next read.
  const done = { name: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1', provisioningState: 'SUCCEEDED' };
  for (const cured of ['KEY_VAULT_UNREACHABLE', 'KEY_DISABLED']) {
    assert.equal(await settle(setOf(cured), { ...watched(done), timeoutMs: 120_000 }), done);
  }
  const silent = Array.from({ length: 20 }, () => setOf('KEY_VAULT_UNREACHABLE'));
  assert.equal(await settle(setOf('KEY_VAULT_UNREACHABLE'), { ...watched(...silent, done), timeoutMs: 120_000 }), done);
});

const reason = (expected: string) => (error: unknown) => error instanceof NotSettled && error.reason === expected;
