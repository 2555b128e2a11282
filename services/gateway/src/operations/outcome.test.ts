import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Operation, operationBody, operationContent, operationOf } from './operation.ts';
import { outcomeOf } from './outcome.ts';

const operation: Operation = {
  id: '22222222-2222-4222-8222-222222222222',
  action: 'virtualMachines/write',
  target: 'subscriptions/dev/resourceGroups/g1/virtualMachines/vm1',
  principal: 'p',
  startedAt: 0,
  disks: ['d1', 'd2'],
  end: undefined,
};
const deletion: Operation = { ...operation, action: 'virtualMachines/delete', disks: [] };

test('after a restart the state of the resource decides the outcome of an operation', () => {
  const statusOf = (of: Operation, state: string | undefined, disks: readonly string[] = ['d2', 'd1']) =>
    outcomeOf(of, state === undefined ? undefined : { provisioningState: state, disks }, 5).status;
  assert.equal(statusOf(operation, 'UPDATING'), 'InProgress');
  assert.equal(statusOf(operation, 'SUCCEEDED'), 'Succeeded');
  assert.equal(statusOf(operation, 'SUCCEEDED', ['d1']), 'Failed', 'a disk is missing: only a part was done');
  assert.equal(statusOf(operation, undefined), 'Failed');
  assert.equal(statusOf(deletion, undefined), 'Succeeded');
  assert.equal(statusOf(deletion, 'DELETING'), 'InProgress');
  assert.equal(statusOf(deletion, 'SUCCEEDED'), 'Failed');
});

test('VM-47: a failed start ends the operation with the error of the key', () => {
  const failure = { code: 'KEY_DISABLED', message: 'disabled', diskEncryptionSet: 'subscriptions/dev/x' };
  const finding = outcomeOf({ ...operation, disks: [] }, { provisioningState: 'FAILED', failure }, 5);
  assert.equal(finding.status, 'Failed');
  assert.equal('error' in finding && finding.error.code, 'KeyVaultKeyNotEnabled');
});

test('an operation is read as it was stored', () => {
  const end = { status: 'Succeeded', at: 9, output: { id: 'x' } } as const;
  assert.deepEqual(operationOf(operation.id, operationContent({ ...operation, end })), { ...operation, end });
  assert.deepEqual(operationBody(operation, end), {
    name: operation.id,
    startTime: '1970-01-01T00:00:00.000Z',
    status: 'Succeeded',
    endTime: '1970-01-01T00:00:00.009Z',
    properties: { output: { id: 'x' } },
  });
  assert.equal((operationBody(operation, { status: 'InProgress' }) as { status: string }).status, 'InProgress');
});
