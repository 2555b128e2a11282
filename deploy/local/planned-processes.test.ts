import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataFolder } from './data-folder.ts';
import { planProcesses, portsOf } from './planned-processes.ts';
import { vmHostEntry } from './services.ts';

test('several disk hosts have a socket for block devices each, and cannot share a given address', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-planned-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const plan = (diskHosts: number, env: Readonly<Record<string, string>>) =>
    planProcesses({
      ...{ services: ['disk'], replicas: 1, diskHosts, vmHosts: 0, env, data: openDataFolder(folder) },
      ports: [1, 2, 3, 4, 5, 6, 7],
      blockDevices: { settingsOf: (name: string) => ({ NBD_LISTEN: `unix:${name}` }) } as unknown as Parameters<
        typeof planProcesses
      >[0]['blockDevices'],
    }).planned.flatMap(({ own }) => own.NBD_LISTEN ?? []);
  assert.deepEqual(plan(2, {}), ['unix:disk-host-0', 'unix:disk-host-1']);
  assert.throws(
    () => plan(2, { NBD_LISTEN: '127.0.0.1:10809' }),
    /NBD_LISTEN is one address \(127.0.0.1:10809\), and 2 disk hosts/,
  );
  assert.deepEqual(plan(1, { NBD_LISTEN: '127.0.0.1:10809' }), [], 'one host has the given address');
});

test('two processes of disk with a disk host are control processes without a folder, and the host has that of one process', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-planned-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { planned, addresses } = planProcesses({
    ...{ services: ['disk'], replicas: 2, diskHosts: 1, vmHosts: 0, env: {}, data: openDataFolder(folder) },
    ports: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
    blockDevices: { settingsOf: () => ({}) } as unknown as Parameters<typeof planProcesses>[0]['blockDevices'],
  });
  assert.deepEqual(
    planned.map(({ name, own }) => [name, own.DISK_ROLE, own.DATA_FOLDER?.slice(folder.length)]),
    [
      ['disk', 'control', undefined],
      ['disk-1', 'control', undefined],
      ['disk-host-0', 'host', '/services/disk'],
    ],
  );
  assert.equal(addresses.disk, 'localhost:7,localhost:8');
});

test('VM hosts have a name, a folder and an address each, and no store; compute then has no guests', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-planned-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const size = { services: ['compute'], replicas: 1, diskHosts: 0, vmHosts: 2 } as const;
  const { planned } = planProcesses({
    ...{ ...size, env: {}, data: openDataFolder(folder), ports: [1, 2, 3, 4, 5, 6, 7] },
    blockDevices: { settingsOf: () => ({}) } as unknown as Parameters<typeof planProcesses>[0]['blockDevices'],
  });
  assert.equal(portsOf(size), 7);
  assert.deepEqual(
    planned.map(({ name, entry, own }) => [name, entry, own.GUEST_DRIVER, own.VM_HOST, own.VM_HOST_ADDRESS]),
    [
      ['compute', undefined, 'hosts', undefined, undefined],
      ['vm-host-0', vmHostEntry, undefined, 'vm-host-0', 'localhost:6'],
      ['vm-host-1', vmHostEntry, undefined, 'vm-host-1', 'localhost:7'],
    ],
  );
  assert.equal(new Set(planned.map(({ own }) => own.DATA_FOLDER)).size, 3);
});
