import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type GuardedProcess, startGuarded } from './guarded-process.ts';
import { processStart } from './lock.mjs';
import { type Crash, explainEnd, startRestartable } from './restartable.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const logFile = join(folder, 'log');
writeFileSync(logFile, 'words of another\n');

/** A process that idles. @param before runs before each start except the first */
const idling = async (before: () => Promise<void> = async () => undefined) => {
  const launched: GuardedProcess[] = [];
  const { promise: crashed, resolve: onCrash } = Promise.withResolvers<Crash>();
  const launch = async () => {
    if (launched.length > 0) await before();
    const args = ['-c', 'echo last words >&2; exec sleep infinity'];
    const command = { command: '/bin/sh', args, cwd: '/', output: logFile } as const;
    const started = await startGuarded({ ...command, stopSignal: 'TERM', graceMs: 1_000 });
    launched.push(started);
    return started;
  };
  return { own: await startRestartable({ name: 'idle', logFile, launch, onCrash }), launched, crashed };
};
const spoken = async (): Promise<void> => {
  while (!readFileSync(logFile, 'utf8').includes('last words')) await delay(5);
};
const isRunning = ({ pid }: GuardedProcess): boolean => processStart(pid) !== undefined;

test('reports the end of a process with its last log lines and a function that restarts it', async () => {
  const { own, crashed } = await idling();
  const { pid: first } = own.process;
  await spoken();
  process.kill(first, 'SIGKILL');
  const { name, status, message, restart } = await crashed;
  assert.deepEqual([name, status], ['idle', 137]);
  assert.match(message, /^idle was ended by signal 9\. The end of .* says:\nlast words/);
  const pid = await restart();
  assert.notEqual(pid, first);
  assert.equal(own.process.pid, pid);
  assert.ok(isRunning(own.process));
  await own.stop();
  assert.ok(!isRunning(own.process));
});

test('kill, restart and stop report no crash', async () => {
  const { own, launched, crashed } = await idling();
  await own.kill();
  await own.restart();
  await own.restart();
  await own.stop();
  assert.deepEqual(launched.map(isRunning), [false, false, false]);
  assert.equal(await Promise.race([crashed, 'nothing']), 'nothing');
});

test('a stop during a restart waits for it and leaves no process', async () => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const { own, launched } = await idling(() => gate);
  await own.kill();
  const restarting = own.restart();
  const stopping = own.stop();
  open();
  await Promise.all([restarting, stopping]);
  assert.equal(launched.length, 2);
  assert.deepEqual(launched.map(isRunning), [false, false]);
});

test('a failed restart throws, and can be repeated', async () => {
  let failures = 1;
  const { own } = await idling(async () => {
    failures -= 1;
    if (failures >= 0) throw new Error('no room');
  });
  await own.kill();
  await assert.rejects(own.restart(), /no room/);
  await own.restart();
  assert.ok(isRunning(own.process));
  await own.stop();
});

/** A folder on a file system of 1 MiB: Postgres and NATS cannot store anything there. @returns undefined where mounting is not allowed */
const smallFolder = (): string | undefined => {
  const small = mkdtempSync(join(tmpdir(), 'interlock-small-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'interlock-test', small]);
  if (status === 0) return small;
  rmSync(small, { recursive: true });
  return undefined;
};

test('the end of a process on a full disk is explained in one line that names the folder and the log, not by its log', (t) => {
  const small = smallFolder();
  if (small === undefined) return t.skip('mounting a small file system needs root');
  t.after(() => {
    spawnSync('umount', [small]);
    rmSync(small, { recursive: true });
  });
  const log = join(small, 'Postgres.log');
  writeFileSync(log, 'HINT: This probably means that some data is corrupted\n');
  assert.match(
    explainEnd('Postgres', log, 1, 0),
    /^Postgres ended with status 1: there is no space left in \S+ \(0 MiB free\)\. Its log is \S+Postgres\.log\.$/,
  );
});
