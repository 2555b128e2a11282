import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemClock as clock } from '@interlock/runtime';
import { lockFolder } from './folder-lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-folder-'));
after(() => rmSync(folder, { recursive: true }));

test('one process locks the folder; the next one waits for it until its timeout', async () => {
  const { signal } = new AbortController();
  const unlock = await lockFolder(folder, { clock, patienceMs: 0, signal });
  await assert.rejects(lockFolder(folder, { clock, patienceMs: 0, signal }), /another process has/);
  const next = lockFolder(folder, { clock, patienceMs: 600_000, signal });
  unlock();
  (await next)();
});

test('the lock of a folder is released when its process is killed', async () => {
  const { signal } = new AbortController();
  const script = `
    const { lockFolder } = await import(${JSON.stringify(new URL('./folder-lock.ts', import.meta.url).href)});
    const clock = { monotonicMs: () => 0 };
    await lockFolder(${JSON.stringify(folder)}, { clock, patienceMs: 0, signal: new AbortController().signal });
    console.log('locked');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    await assert.rejects(lockFolder(folder, { clock, patienceMs: 0, signal }), /another process has/);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  (await lockFolder(folder, { clock, patienceMs: 0, signal }))();
});

test('a process that waits for the lock of a folder reports it, and stops on request', async () => {
  const stopping = new AbortController();
  const patient = { clock, patienceMs: Number.POSITIVE_INFINITY, signal: stopping.signal };
  const unlock = await lockFolder(folder, {
    ...patient,
    onWaiting: () => assert.fail('no other process holds the lock'),
  });
  const standsBy = Promise.withResolvers<void>();
  const next = lockFolder(folder, { ...patient, onWaiting: standsBy.resolve });
  await standsBy.promise;
  stopping.abort();
  await assert.rejects(next, /stopped while another process has/);
  unlock();
});
