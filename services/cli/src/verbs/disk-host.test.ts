import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testProgram } from '../session/test-session.ts';

const name = 'diskHosts/disk-0';
const host = {
  ...{ name, state: 'OPEN', liveness: 'SERVING', folderId: 'f', zone: 'a', dataAddress: 'disk:1', nbdAddress: '' },
  ...{ grpcAddress: 'disk:1', capacityBytes: '1099511627776', freeBytes: '1073741824', diskCount: '3' },
  ...{ snapshotCount: '1', createTime: '2026-12-01T00:00:00Z', etag: '1' },
};
const ran = async (...args: readonly string[]) => {
  const resource = { name: 'subscriptions/local/resourceGroups/g/disks/d1', virtualMachine: '', diskEncryptionSet: '' };
  const content = { ListDiskHostResources: { resources: [resource], nextPageToken: '' } };
  const answers = {
    ...content,
    GetDiskHost: host,
    DrainDiskHost: host,
    ResumeDiskHost: host,
    DeclareDiskHostLost: host,
  };
  const { run, sent, lines } = testProgram({ ...answers, ListDiskHosts: { diskHosts: [host], nextPageToken: '' } });
  await run('disk-host', ...args);
  return { call: [sent.at(-1)?.method, sent.at(-1)?.request], shown: lines.join('\n') };
};

test('disk-host list shows each host with its state, its liveness and what it has', async () => {
  const { shown } = await ran('list');
  for (const text of ['disk-0', 'OPEN', 'SERVING', '3', '1']) assert.ok(shown.includes(text), `${text} in ${shown}`);
  assert.ok(shown.split('\n').every((line) => line.length <= 100));
});

test('disk-host cordon refuses only what is new; drain also waits until nothing is left', async () => {
  assert.deepEqual((await ran('cordon', 'disk-0')).call, ['DrainDiskHost', { name, cordonOnly: true }]);
  assert.deepEqual((await ran('drain', 'disk-0')).call, ['DrainDiskHost', { name }]);
  assert.deepEqual((await ran('resume', 'disk-0')).call, ['ResumeDiskHost', { name }]);
  assert.deepEqual((await ran('show', name)).call, ['GetDiskHost', { name }]);
});

test('disk-host impact lists what depends on a host, and counts it', async () => {
  const { call, shown } = await ran('impact', 'disk-0');
  assert.deepEqual(call, ['ListDiskHostResources', { name }]);
  assert.match(shown, /d1/);
  assert.match(shown, /depends on disk-0: 1 disk/);
});

test('impact of a disk host names the command that takes one, and sends nothing', async () => {
  const { run, sent } = testProgram({ PreviewImpact: { impacts: [] } });
  for (const name of ['disk-host:disk-0', 'diskHosts/disk-0']) {
    const refused = new RegExp(`must be a name of one of these kinds \\(got "${name}"\\).*disk-host impact <host>`);
    await assert.rejects(run('impact', name), refused);
  }
  assert.equal(sent.length, 0);
});

test('disk-host declare-lost needs the id of the folder', async () => {
  await assert.rejects(ran('declare-lost', 'disk-0'), /--folder-id/);
  const { call } = await ran('declare-lost', 'disk-0', '--folder-id', 'f');
  assert.deepEqual(call, ['DeclareDiskHostLost', { name, folderId: 'f' }]);
});

test('disk move and snapshot move take the short name of a host', async () => {
  const moved = { name: 'subscriptions/s/resourceGroups/g/disks/d', diskHost: 'diskHosts/disk-1' };
  const { run, sent } = testProgram({ MoveDisk: moved, MoveSnapshot: moved });
  await run('disk', 'move', 'g/d', '--to', 'disk-1', '--subscription', 's');
  assert.deepEqual([sent.at(-1)?.method, sent.at(-1)?.request.diskHost], ['MoveDisk', 'diskHosts/disk-1']);
  await run('snapshot', 'move', 'g/s', '--to', 'diskHosts/disk-1', '--subscription', 's');
  assert.deepEqual([sent.at(-1)?.method, sent.at(-1)?.request.diskHost], ['MoveSnapshot', 'diskHosts/disk-1']);
});
