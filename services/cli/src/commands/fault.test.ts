import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { CloudControl, PartProcess } from '@interlock/local/control/cloud-control.ts';
import { serveControl } from '@interlock/local/control/control-server.ts';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { systemClock } from '@interlock/runtime';
import { FaultFailed, NoCloud, UsageError } from '../problems.ts';
import { testProgram } from '../session/test-session.ts';
import { applyFault, localProcesses } from './fault.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-fault-'));
after(() => rmSync(root, { recursive: true }));

/** A launcher whose cloud is one process. It undoes a fault with a duration as soon as it has reported it. */
const openLauncher = async (change: Partial<CloudControl> = {}) => {
  const calls: string[] = [];
  let state: PartProcess['state'] = 'running';
  const reported = Promise.withResolvers<void>();
  const control: CloudControl = {
    processes: async () => {
      if (state === 'down') reported.resolve();
      return [{ part: 'nats', name: 'nats', pid: 4_711, state }];
    },
    kill: async (part) => {
      calls.push(`kill ${part}`);
      state = 'down';
    },
    restart: async (part) => {
      calls.push(`restart ${part}`);
      state = 'running';
    },
    pause: async () => undefined,
    resume: async () => undefined,
    ...change,
  };
  const data = openDataFolder(mkdtempSync(join(root, 'data-')));
  const clock = { ...systemClock, sleep: () => reported.promise };
  const server = await serveControl(control, { data, clock, say: () => undefined, describe: () => ({}) });
  after(server.close);
  writeFileSync(data.path('cloud.json'), JSON.stringify({ control: server.path }));
  return { data: data.root, calls };
};

const lines: string[] = [];
const terminal = { out: (line: string) => void lines.push(line), err: (line: string) => void lines.push(line) };

test('the launcher undoes a fault with a duration, and the command waits for it', async () => {
  const { data, calls } = await openLauncher();
  await applyFault({ action: 'kill', part: 'nats', forMs: 1 }, data, terminal);
  assert.deepEqual(calls, ['kill nats', 'restart nats']);
  assert.equal(lines[0], 'nats: down');
  assert.match(lines[1] ?? '', /^nats: running again after \d+ ms$/);
});

test('process ids are known for a local cloud only', async () => {
  const { data } = await openLauncher();
  assert.deepEqual(await localProcesses(data), [{ part: 'nats', name: 'nats', pid: 4_711, state: 'running' }]);
  assert.deepEqual(await localProcesses(undefined), []);
  assert.deepEqual(await localProcesses(root), []);
});

test('a fault that the launcher refuses, and a folder without a cloud, have their own errors', async () => {
  const refused = async (): Promise<void> => {
    throw new Error('postgres is given by DATABASE_URL: it is not ours');
  };
  const { data } = await openLauncher({ kill: refused });
  const fault = { action: 'kill', part: 'postgres', forMs: undefined } as const;
  await assert.rejects(applyFault(fault, data, terminal), (error: unknown) => {
    assert.ok(error instanceof FaultFailed);
    return /given by DATABASE_URL/.test(error.message);
  });
  await assert.rejects(applyFault(fault, root, terminal), NoCloud);
  await assert.rejects(applyFault(fault, undefined, terminal), NoCloud);
});

test('a host has the name of its process, of its resource, and its full name', async () => {
  const processes = (['disk-host-0', 'vm-host-1'] as const).map(
    (part): PartProcess => ({ part, name: part, pid: 4_711, state: 'running' }),
  );
  const { data, calls } = await openLauncher({ processes: async () => processes });
  const { run } = testProgram();
  for (const name of ['disk-host-0', 'disk-0', 'diskHosts/disk-0']) await run('fault', 'restart', name, '--data', data);
  assert.deepEqual(calls, ['restart disk-host-0', 'restart disk-host-0', 'restart disk-host-0']);
  for (const name of ['vm-host-1', 'vmHosts/vm-host-1']) await run('fault', 'restart', name, '--data', data);
  assert.deepEqual(calls.slice(3), ['restart vm-host-1', 'restart vm-host-1']);
  await assert.rejects(run('fault', 'kill', 'disk-host-x'), /disk-host-<n>.*vm-host-<n>/);
});

test('a part that does not exist and a time without a unit are refused before anything happens', async () => {
  const { run } = testProgram();
  await assert.rejects(run('fault', 'kill', 'moon'), (error: unknown) => /nats, postgres/.test(String(error)));
  await assert.rejects(run('fault', 'pause', 'nats', '--for', '20'), UsageError);
  await assert.rejects(run('fault', 'resume', 'nats', '--for', '20s'), UsageError);
});
