import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readHistory } from '@interlock/lab/judge/journal/history';
import { livelyOn } from '../cloud/returned.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeMachine, makeWorld, untilPower, type World } from '../cloud/world.ts';

let cloud: TestCloud;
let world: World;
let name = '';
before(async () => {
  cloud = await testCloud({ SWEEP_INTERVAL_MS: '500' });
  world = await makeWorld(cloud.clients, [['PREMIUM_SSD']]);
  [name = ''] = world.machines;
});
after(() => cloud.stop());

const history = () => readHistory(join(cloud.folder, 'services', 'compute', 'guests'), [name]);
const mismatchRows = async () =>
  (await cloud.clients.compute.listActivityLog({ name, pageSize: 1_000 })).entries.filter(
    ({ properties }) => properties.cause === 'CONTENT_MISMATCH',
  );

test('a machine that is deleted and recreated with new disks of the same names reports no mismatch', async () => {
  const { compute, disks } = cloud.clients;
  const disk = `${world.group}/disks/vm0-d0`;
  await livelyOn(history, 0, [disk]);
  const { uniqueId } = await compute.getVirtualMachine({ name });
  await compute.deleteVirtualMachine({ name });
  await until('the machine is gone', async () => (await listed()).length === 0);
  const isGone = (error: unknown) => error instanceof Error && 'reason' in error && error.reason === 'DISK_NOT_FOUND';
  const { uniqueId: diskId } = await disks.getDisk({ name: disk });
  await disks.deleteDisk({ name: disk });
  await until('its disk is gone', async () => disks.getDisk({ name: disk }).then(() => false, isGone));
  const since = Date.now();
  assert.equal(await makeMachine(cloud.clients, world, 'vm0', ['PREMIUM_SSD']), name);
  await livelyOn(history, since, [disk]);
  const machine = await compute.getVirtualMachine({ name });
  assert.notEqual(machine.uniqueId, uniqueId);
  assert.notEqual((await disks.getDisk({ name: disk })).uniqueId, diskId);
  assert.deepEqual(
    history().filter(({ op, reason }) => op === 'verify' || reason !== ''),
    [],
  );
  await until('its guest has counted', async () => {
    const { guestIo } = await compute.getVirtualMachine({ name });
    return (guestIo?.writeCount ?? 0) > 0 && (guestIo?.readCount ?? 0) > 0;
  });
  assert.equal((await compute.getVirtualMachine({ name })).guestIo?.contentMismatchCount, 0);
  assert.deepEqual(await mismatchRows(), []);
});

test('a machine reports bytes that it did not write, with disk and offset', async () => {
  const { compute } = cloud.clients;
  await compute.powerOffVirtualMachine({ name });
  await untilPower(cloud.clients, name, 'STOPPED');
  const path = join(cloud.folder, 'services', 'compute', 'guests', ...name.split('/'), 'io.jsonl');
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const write = lines.findLastIndex((line) => JSON.parse(line).op === 'write');
  const entry = JSON.parse(lines[write] ?? '');
  // As if a later write to the same place had been acknowledged but were not on the disk.
  writeFileSync(path, `${[...lines, JSON.stringify({ ...entry, seq: entry.seq + 64 })].join('\n')}\n`);
  await compute.startVirtualMachine({ name });
  const { newestMismatch } = await until('the machine reports the mismatch', async () => {
    const { guestIo } = await compute.getVirtualMachine({ name });
    return (guestIo?.contentMismatchCount ?? 0) > 0 && guestIo;
  });
  assert.deepEqual([newestMismatch?.disk, newestMismatch?.offsetBytes], [entry.disk, entry.offset]);
  const [row] = await until('a row of the activity log', async () => {
    const rows = await mismatchRows();
    return rows.length > 0 && rows;
  });
  assert.deepEqual([row?.properties.disks, row?.properties.offsetBytes], [entry.disk, String(entry.offset)]);
});

const listed = async () => (await cloud.clients.compute.listVirtualMachines({ parent: world.group })).virtualMachines;
