import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type GuardedCommand, startGuarded } from './guarded-process.ts';
import { processStart } from './lock.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const shell = (script: string, more: Partial<GuardedCommand> = {}) =>
  startGuarded({
    command: '/bin/sh',
    args: ['-c', script],
    cwd: folder,
    output: join(folder, 'log'),
    stopSignal: 'TERM',
    graceMs: 300,
    ...more,
  });

/** Resolves when the process is gone; the test's own time limit ends the wait otherwise. */
async function gone(pid: number): Promise<void> {
  while (processStart(pid) !== undefined) await delay(5);
}

async function firstLine(more: (onLine: (line: string) => void) => Promise<unknown>): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  await more(resolve);
  return promise;
}

test('reports the exit status, and 128 + n after a signal', async () => {
  assert.deepEqual(await (await shell('exit 7')).exited, { status: 7 });
  const sleeper = await shell('exec sleep 1000');
  sleeper.signal('SIGKILL');
  assert.deepEqual(await sleeper.exited, { status: 137 });
});

test('a command that does not exist exits with 127, and its log has the reason', async () => {
  const missing = await startGuarded({
    command: '/nonexistent/program',
    args: [],
    cwd: folder,
    output: join(folder, 'missing.log'),
    stopSignal: 'TERM',
    graceMs: 100,
  });
  assert.deepEqual(await missing.exited, { status: 127 });
  assert.match(readFileSync(join(folder, 'missing.log'), 'utf8'), /not found/);
});

test('stop sends the stop signal, and kills a process that ignores it', async () => {
  // Both print a line when they are ready for the signal.
  let polite: Awaited<ReturnType<typeof shell>> | undefined;
  await firstLine(async (onLine) => {
    polite = await shell('trap "exit 3" TERM; echo listening; while :; do sleep 0.01; done', { onLine });
  });
  assert.deepEqual(await polite?.stop(), { status: 3 });
  let stubborn: Awaited<ReturnType<typeof shell>> | undefined;
  await firstLine(async (onLine) => {
    stubborn = await shell('trap "" TERM; echo deaf; while :; do sleep 0.01; done', { onLine });
  });
  assert.deepEqual(await stubborn?.stop(), { status: 137 });
});

test('stops a paused command too', async () => {
  const paused = await shell('trap "exit 3" TERM; while :; do sleep 0.01; done');
  paused.signal('SIGSTOP');
  await paused.stop();
  await gone(paused.pid);
});

test('when a command is killed, the other processes of its group end too', async () => {
  let parent: Awaited<ReturnType<typeof shell>> | undefined;
  const orphan = Number(
    await firstLine(async (onLine) => {
      parent = await shell('sleep 1000 & echo $!; wait', { onLine });
    }),
  );
  parent?.signal('SIGKILL');
  await gone(orphan);
});

test('when the launcher is killed, its processes end, paused ones too', async () => {
  const launcher = spawn(process.execPath, ['--input-type=module-typescript', '--eval', fixture()], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: launcher.stdout })[Symbol.asyncIterator]();
  const pids = JSON.parse((await lines.next()).value ?? '[]') as number[];
  assert.equal(pids.length, 2);
  for (const pid of pids) assert.notEqual(processStart(pid), undefined, 'runs before the launcher is killed');
  launcher.kill('SIGKILL');
  for (const pid of pids) await gone(pid);
});

function fixture(): string {
  return `
    import { startGuarded } from ${JSON.stringify(import.meta.resolve('./guarded-process.ts'))};
    const common = { cwd: '/', output: ${JSON.stringify(join(folder, 'fixture.log'))}, stopSignal: 'TERM', graceMs: 300 };
    const running = await startGuarded({ ...common, command: 'sleep', args: ['1000'] });
    const paused = await startGuarded({ ...common, command: 'sleep', args: ['1000'] });
    paused.signal('SIGSTOP');
    console.log(JSON.stringify([running.pid, paused.pid]));
  `;
}
