import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { testProgram } from '../session/test-session.ts';

const group = 'subscriptions/local/resourceGroups/g';
const set = (state: string, reason = 'KEY_ACCESS_REASON_UNSPECIFIED') => ({
  name: `${group}/diskEncryptionSets/des1`,
  activeKey: { keyVersion: 'vaults/kv1/keys/k1/versions/1' },
  keyAccess: [{ keyVersion: 'vaults/kv1/keys/k1/versions/1', state, reason, since: '2026-01-01T00:00:00.500Z' }],
});
const machine = (powerState: string, more: object = {}) => ({
  name: `${group}/virtualMachines/vm1`,
  powerState,
  startTime: '2025-12-31T00:00:00Z',
  guestIo: { readCount: '5', writeCount: '5', failureCount: '0', contentMismatchCount: '0' },
  ...more,
});
const stopped = machine('STOPPED', {
  stopReason: { reason: 'KEY_DISABLED' },
  stopTime: '2026-01-01T00:00:01.500Z',
  keyReturned: true,
});
const gone = new RpcFailure('UNAVAILABLE', 'ListVirtualMachines', 'compute', 'connect ECONNREFUSED');
const answers = {
  ListDiskEncryptionSets: [
    { diskEncryptionSets: [set('AVAILABLE')] },
    { diskEncryptionSets: [set('LOST', 'KEY_DISABLED')] },
  ],
  ListVirtualMachines: [{ virtualMachines: [machine('RUNNING')] }, gone, { virtualMachines: [stopped] }],
  ListLeases: { leases: [] },
};

test('without a terminal, watch prints a summary and each change, and continues after a service did not respond', async () => {
  const { run, lines, sent } = testProgram(answers);
  await run('watch', '--timeout', '4s');
  assert.deepEqual(lines, [
    'watching g: 1 sets, 1 machines, 1 of them running',
    '00:00:00  des1  access to kv1/k1/1 LOST: KEY_DISABLED',
    '00:00:01  vm1  STOPPED: KEY_DISABLED, access is back',
  ]);
  const list = sent.find(({ method }) => method === 'ListVirtualMachines');
  assert.deepEqual([list?.request.parent, list?.request.view], [group, 'FULL']);
});

test('watch -o json writes each change as a line of JSON', async () => {
  const { run, lines } = testProgram(answers);
  await run('watch', '--timeout', '4s', '-o', 'json');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).text),
    ['access to kv1/k1/1 LOST: KEY_DISABLED', 'STOPPED: KEY_DISABLED, access is back'],
  );
});

test("on a terminal, watch draws a screen of its size and restores the shell's screen at the end", async () => {
  const size = () => ({ columns: 60, rows: 12 });
  const { run, lines } = testProgram(answers, { terminal: { size } });
  await run('watch', '--timeout', '3s');
  assert.equal(lines.at(0), '\u001b[?1049h\u001b[?25l');
  assert.equal(lines.at(-1), '\u001b[?25h\u001b[?1049l');
  const frames = lines.slice(1, -1);
  assert.equal(frames.length, 3);
  for (const frame of frames) assert.ok(frame.split('\n').length < 12 && frame.startsWith('\u001b[H'));
  assert.match(frames[1] ?? '', /MACHINES \(as last read\)/);
});

test('a machine that is being stopped or started does not show the time of its previous stop or start', async () => {
  for (const state of ['STOPPING', 'STARTING', 'DEALLOCATING']) {
    const virtualMachines = [machine(state, { stopTime: '2025-12-30T00:00:00Z' })];
    const size = () => ({ columns: 100, rows: 30 });
    const { run, lines } = testProgram(
      { ...answers, ListVirtualMachines: { virtualMachines } },
      { terminal: { size } },
    );
    await run('watch', '--timeout', '1s');
    const row = (lines[1] ?? '').split('\n').find((line) => line.includes('vm1')) ?? '';
    assert.match(row, new RegExp(`${state} +10`), 'POWER is followed by OPERATIONS, without a time');
  }
});

test('a caller that may not read sets and leases still sees machines', async () => {
  const refused = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  const { run, lines } = testProgram(
    { ...answers, ListDiskEncryptionSets: refused, ListLeases: refused, GetRelay: refused },
    { terminal: { size: () => ({ columns: 100, rows: 30 }) } },
  );
  await run('watch', '--timeout', '1s');
  assert.match(lines[1] ?? '', /every service responds[\s\S]*vm1 +RUNNING/);
});
