import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { serviceNames } from '@interlock/local/services.ts';
import { until } from '../cloud/until.ts';
import { textOf } from '../docs/sources.ts';
import { killDuringRevocation, replicatedWorld } from './test-killed-replica.ts';

const open = replicatedWorld();

test('a process of disk that ends with SIGTERM is removed from the list of replicas', async () => {
  const { cloud } = open();
  const names = async () =>
    (await cloud.clients.messaging('disk').listReplicas({})).replicas.map(({ name }) => name).toSorted();
  const both = ['replicas/disk', 'replicas/disk-1'];
  await until('two work', async () => `${await names()}` === `${both}`);
  process.kill(cloud.cloud.pid('disk', 1), 'SIGTERM');
  // A replica that only stopped responding would still be listed, and later as GONE.
  await until('one is left', async () => `${await names()}` === 'replicas/disk');
  await cloud.cloud.restart('disk', 1);
  await until('two work again', async () => `${await names()}` === `${both}`);
});

/** The listening sockets of a process, by inode. */
const listening = (pid: number): readonly string[] => {
  const own = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`)));
  return ['tcp', 'tcp6'].flatMap((family) =>
    readFileSync(`/proc/${pid}/net/${family}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      // proc_pid_net(5): field 4 is the state, 0A for a listening socket; field 10 is its inode.
      .filter(([, , , state]) => state === '0A')
      .map((fields) => fields[9] ?? '')
      .filter((inode) => own.has(`socket:[${inode}]`)),
  );
};
const linkOf = (path: string): string => {
  try {
    return readlinkSync(path);
  } catch {
    // It was closed after the folder was read.
    return '';
  }
};

/** Whether the process handles the signal itself: Node opens its inspector from such a handler. */
const catches = (pid: number, signal: number): boolean => {
  const [, mask = ''] = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n;
};

/** Number of SIGUSR1 on Linux (signal(7)). */
const sigusr1 = 10;

test('SIGUSR1 neither opens an inspector nor ends a service', { skip: process.platform !== 'linux' }, async () => {
  const { cloud } = open();
  for (const service of serviceNames) {
    const pids = () => [cloud.cloud.pid(service, 0), cloud.cloud.pid(service, 1)];
    const before = pids();
    const listened = before.map(listening);
    assert.ok(listened.flat().length > 0, `${service} listens`);
    for (const pid of before) {
      assert.equal(catches(pid, sigusr1), false, `${service} handles SIGUSR1`);
      process.kill(pid, 'SIGUSR1');
    }
    await cloud.clients.messaging(service).listConsumers({});
    assert.deepEqual(before.map(listening), listened);
    assert.deepEqual(pids(), before);
  }
});

test('images start Node with --disable-sigusr1', () => {
  assert.match(textOf('deploy/Containerfile'), /^ENTRYPOINT \[.*"--disable-sigusr1", .*"\/app\/main\.mjs"\]$/m);
});

// One that divides work by partitions, and one that passes calls on to the disk host. a-replica-is-killed-during-a-revocation.long.test.ts kills all others.
for (const [service, victim] of [
  ['compute', 0],
  ['disk', 0],
] as const) {
  test(`CMK-100, G2, G3, G5, G7: ${service}, replica ${victim} of two, is killed during a revocation; each machine stops once and comes back`, () =>
    killDuringRevocation(open(), service, victim));
}
