import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { endGuests } from './guests.ts';
import { processStart } from './lock.mjs';

const root = mkdtempSync(join(tmpdir(), 'interlock-guests-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** A process with the folder of a guest in its command line, as guests have, and its id in that folder. */
const startGuest = async (name: string, program: string): Promise<ChildProcess & { readonly pid: number }> => {
  const folder = join(root, 'subscriptions/s/resourceGroups/g/virtualMachines', name);
  mkdirSync(folder, { recursive: true });
  const child = spawn(process.execPath, ['-e', `${program}; console.log('up')`, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert(child.pid !== undefined && child.stdout !== null);
  await once(child.stdout, 'data');
  writeFileSync(join(folder, 'guest.pid'), String(child.pid));
  return Object.assign(child, { pid: child.pid });
};

test('ends guests with a signal, kills those that ignore it, waits for all, and spares a process that is no guest', async () => {
  const slow = `process.on('SIGTERM', () => setTimeout(() => process.exit(7), 300)); setInterval(() => {}, 1000)`;
  const obeys = await startGuest('obeys', slow);
  const ends = once(obeys, 'exit');
  await endGuests(root, systemClock);
  // A process that exits loses its command line a moment before it leaves the process table.
  assert.deepEqual(await ends, [7, null], 'by itself');
  assert.equal(processStart(obeys.pid), undefined);

  const deaf = await startGuest('deaf', `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`);
  const other = await startGuest('other', `setInterval(() => {}, 1000)`);
  // A process id that another process has now.
  writeFileSync(join(root, 'subscriptions/s/resourceGroups/g/virtualMachines/other/guest.pid'), String(process.pid));
  const isKilled = once(deaf, 'exit');
  await endGuests(root, systemClock, 50);
  assert.deepEqual(await isKilled, [null, 'SIGKILL']);
  assert.equal(processStart(deaf.pid), undefined);
  assert.notEqual(processStart(other.pid), undefined, 'a process that is no guest keeps running');
  other.kill('SIGKILL');
});

test('returns at once if the folder never had guests', async () => {
  await endGuests(join(root, 'nowhere'), systemClock);
});
