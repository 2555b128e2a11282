import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { NotSettled, UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';

const vm = (name: string, powerState: string): JsonObject => ({
  name: `subscriptions/local/resourceGroups/g/virtualMachines/${name}`,
  provisioningState: 'SUCCEEDED',
  powerState,
});
const refused = new Rejection('FAILED_PRECONDITION', 'OPERATION_IN_PROGRESS', 'it starts');

test('vm stop a b c sends a call for each and shows all; flags apply to each', async () => {
  const answers = { PowerOffVirtualMachine: ['a', 'b', 'c'].map((name) => vm(name, 'STOPPED')) };
  const { run, sent, lines } = testProgram(answers);
  await run('vm', 'stop', 'a', 'b', 'h/c');
  assert.deepEqual(
    sent.map(({ method, request }) => [method, String(request.name).split('/').slice(3).join('/')]),
    ['g/virtualMachines/a', 'g/virtualMachines/b', 'h/virtualMachines/c'].map((name) => [
      'PowerOffVirtualMachine',
      name,
    ]),
  );
  assert.match(lines.join('\n'), /^NAME +POWER STATE.*\na +STOPPED.*\nb +STOPPED.*\nc +STOPPED/);
  const grown = testProgram({ GrowDisk: {} });
  await grown.run('disk', 'grow', 'd1', 'd2', '--size', '8');
  assert.deepEqual(
    grown.sent.map(({ request }) => request.sizeGib),
    ['8', '8'],
  );
});

test('a refusal does not prevent the other calls, and is the error at the end', async () => {
  const { run, lines } = testProgram({ PowerOffVirtualMachine: [vm('a', 'STOPPED'), refused, vm('c', 'STOPPED')] });
  await assert.rejects(
    run('vm', 'stop', 'a', 'b', 'c', '-o', 'json'),
    (error) => error instanceof NotSettled && /^1 of 3: b: it starts/.test(error.message),
  );
  const { done, refused: left } = JSON.parse(lines.join('\n'));
  assert.equal(done.length, 2);
  assert.deepEqual([left[0].name, left[0].reason], ['b', 'OPERATION_IN_PROGRESS']);
});

test('an invalid name, and a body for several resources, are refused before anything is sent', async () => {
  const { run, sent } = testProgram();
  await assert.rejects(run('vm', 'delete', 'a', 'b//c'), UsageError);
  await assert.rejects(run('vm', 'stop', 'a', 'b', '--body', '{}'), /--body is the request for one resource/);
  await assert.rejects(run('vm', 'watch', 'a', 'b'), /too many arguments/);
  await assert.rejects(run('vm', 'attach', 'a', 'b', 'c'), /too many arguments/);
  assert.deepEqual(sent, []);
});

test('vm delete --wait reports each of several machines', async () => {
  const gone = new Rejection('NOT_FOUND', 'VIRTUAL_MACHINE_NOT_FOUND', 'gone');
  const answers = {
    DeleteVirtualMachine: ['a', 'b'].map((name) => ({ ...vm(name, 'STOPPED'), provisioningState: 'DELETING' })),
    GetVirtualMachine: gone,
  };
  const { run, lines } = testProgram(answers);
  await run('vm', 'delete', 'a', 'b', '--wait');
  assert.deepEqual(lines, ['a is deleted', 'b is deleted']);
});
