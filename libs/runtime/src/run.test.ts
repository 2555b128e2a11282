import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { ExitCode } from './run.ts';

const program = new URL('./test-service.ts', import.meta.url).pathname;

/** Starts the test service. Returns its process, its ready line, and its exit code and log when it has ended. */
function start(behaviour: string, env: Readonly<Record<string, string>> = { NEEDED: 'x' }) {
  const child = spawn(process.execPath, [program], {
    env: { BEHAVIOUR: behaviour, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const log: Record<string, unknown>[] = [];
  const events = createInterface({ input: child.stderr }).on('line', (line) => log.push(JSON.parse(line)));
  const logged = once(events, 'close');
  const ready = once(createInterface({ input: child.stdout }), 'line').then(([line]) => JSON.parse(line));
  const ended = once(child, 'exit').then(async ([code]) => {
    await logged;
    return { code, events: log.map(({ event }) => event), log };
  });
  return { child, ready, ended };
}

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

describe('a service as a process', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`prints its ready line; on ${signal} closes in reverse order and exits with 0`, async () => {
      const { child, ready, ended } = start('serve');
      assert.deepEqual(await ready, { ready: true, service: 'test', address: '127.0.0.1:1' });
      child.kill(signal);
      const { code, events } = await ended;
      assert.equal(code, ExitCode.stopped);
      assert.deepEqual(events, ['stopping', 'closed second', 'closed first', 'stopped']);
    });
  }

  test('serves and stops although no line of its log can be stored', async () => {
    const full = openSync('/dev/full', 'a');
    const child = spawn(process.execPath, [program], {
      env: { BEHAVIOUR: 'serve', NEEDED: 'x' },
      stdio: ['ignore', 'pipe', full],
    });
    closeSync(full);
    children.push(child);
    const ended = once(child, 'exit');
    const { stdout } = child;
    assert.ok(stdout !== null);
    await once(createInterface({ input: stdout }), 'line');
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [ExitCode.stopped, null]);
  });

  test('exits with 1 and logs what is open if it does not close in time', async () => {
    const { child, ready, ended } = start('hang on close');
    await ready;
    child.kill('SIGTERM');
    const { code, log } = await ended;
    assert.equal(code, ExitCode.failed);
    assert.deepEqual(log.at(-1)?.stillOpen, ['second', 'first']);
  });

  test('exits with 1 and closes the rest if a part fails to close', async () => {
    const { child, ready, ended } = start('fail on close');
    await ready;
    child.kill('SIGTERM');
    const { code, events } = await ended;
    assert.equal(code, ExitCode.failed);
    assert.deepEqual(events, ['stopping', 'closed second', 'closed first', 'closing failed']);
  });

  test('closes what it opened, logs the causes and exits with 1 if it fails to start', async () => {
    const { code, events, log } = await start('fail on start').ended;
    assert.equal(code, ExitCode.failed);
    assert.deepEqual(events, ['start failed', 'stopping', 'closed second', 'closed first', 'stopped']);
    assert.match(JSON.stringify(log[0]), /cannot start.*the reason/);
  });

  test('exits with 78 and logs all invalid settings', async () => {
    const { code, log } = await start('dance', {}).ended;
    assert.equal(code, ExitCode.badConfig);
    assert.match(JSON.stringify(log[0]), /BEHAVIOUR.*NEEDED/);
  });

  for (const behaviour of ['crash', 'throw']) {
    test(`exits with 1 and logs the causes of an uncaught error (${behaviour})`, async () => {
      const { code, log } = await start(behaviour).ended;
      assert.equal(code, ExitCode.failed);
      assert.match(JSON.stringify(log.at(-1)), /uncaught by the service.*the reason/);
    });
  }

  test('stops when its parent process has ended', async () => {
    // The parent is a process that starts the service, passes its output on and is then killed.
    const script = `
      const { spawn } = require('node:child_process');
      spawn(process.execPath, [${JSON.stringify(program)}], {
        env: { NEEDED: 'x', INTERLOCK_PARENT_PID: String(process.pid) }, stdio: 'inherit',
      });`;
    const parent = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(parent);
    const events: unknown[] = [];
    const log = createInterface({ input: parent.stderr }).on('line', (line) => events.push(JSON.parse(line).why));
    await once(createInterface({ input: parent.stdout }), 'line');
    // Standard error closes when the last process that holds it, the service, has ended.
    const ended = once(log, 'close');
    parent.kill('SIGKILL');
    await ended;
    assert.equal(events[0], 'parent is gone');
  });
});
