import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { serviceNames } from '@interlock/local/services.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { textOf } from '../docs/sources.ts';

let cloud: TestCloud;
before(async () => {
  cloud = await testCloud({ GUEST_DRIVER: 'idle' });
});
after(() => cloud?.stop());

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
  for (const service of serviceNames) {
    const pid = cloud.cloud.pid(service);
    assert.equal(catches(pid, sigusr1), false, `${service} handles SIGUSR1`);
    const listened = listening(pid);
    assert.ok(listened.length > 0, `${service} listens`);
    process.kill(pid, 'SIGUSR1');
    await cloud.clients.messaging(service).listConsumers({});
    assert.deepEqual(listening(pid), listened);
    assert.equal(cloud.cloud.pid(service), pid);
  }
});

test('images start Node with --disable-sigusr1', () => {
  assert.match(textOf('deploy/Containerfile'), /^ENTRYPOINT \[.*"--disable-sigusr1", .*"\/app\/main\.mjs"\]$/m);
});
