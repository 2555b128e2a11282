import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { NotSettled, type SettleOptions, settle } from './settle.ts';
import { sleepingClock } from './test-session.ts';

function watched(...states: readonly (JsonObject | Error)[]): SettleOptions & { readonly said: string[] } {
  const left = [...states];
  const said: string[] = [];
  return {
    get: async () => {
      const next = left.length > 1 ? left.shift() : left[0];
      if (next === undefined || next instanceof Error) throw next ?? new Error('asked too often');
      return next;
    },
    clock: sleepingClock(),
    timeoutMs: 5_000,
    isRunWanted: false,
    isDeletion: false,
    say: (state) => said.push(state),
    said,
  };
}

const gone = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', '');

test('a passing state is waited out, and each state is told once', async () => {
  const options = watched(
    { provisioningState: 'UPDATING' },
    { provisioningState: 'UPDATING' },
    { provisioningState: 'SUCCEEDED' },
  );
  assert.deepEqual(await settle({ provisioningState: 'UPDATING' }, options), { provisioningState: 'SUCCEEDED' });
  assert.deepEqual(options.said, ['UPDATING', 'SUCCEEDED']);
});

test('a settled answer is not asked about again', async () => {
  await settle({ provisioningState: 'SUCCEEDED', powerState: 'RUNNING' }, watched());
});

test('a set that is made is shown once its vault has said whether it may use its key, and not for ever without', async () => {
  const blank = { provisioningState: 'SUCCEEDED', keyAccess: [{ keyVersion: 'v' }] };
  const lost = { provisioningState: 'SUCCEEDED', keyAccess: [{ keyVersion: 'v', state: 'LOST' }] };
  assert.deepEqual(await settle(blank, watched(blank, lost)), lost);
  assert.deepEqual(
    await settle(blank, { ...watched(blank), timeoutMs: 60_000 }),
    blank,
    'a vault that gives no answer',
  );
});

test('what is deleted is gone in the end', async () => {
  const options = { ...watched({ name: 'vm', provisioningState: 'DELETING' }, gone), isDeletion: true };
  assert.deepEqual(await settle({ name: 'vm', provisioningState: 'DELETING' }, options), { name: 'vm', deleted: true });
  await assert.rejects(settle({ provisioningState: 'UPDATING' }, watched(gone)), gone);
});

test('a machine that had to run and was stopped by a key fails with that reason', async () => {
  const stopped = { provisioningState: 'SUCCEEDED', powerState: 'STOPPED', stopReason: { reason: 'KEY_EXPIRED' } };
  await assert.rejects(settle(stopped, { ...watched(), isRunWanted: true }), reason('KEY_EXPIRED'));
  await settle(stopped, watched());
});

test('what takes too long says so; a rotation that waits says for what', async () => {
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

const reason = (expected: string) => (error: unknown) => error instanceof NotSettled && error.reason === expected;
