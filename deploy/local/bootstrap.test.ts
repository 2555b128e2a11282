import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { processStart } from './lock.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const bootstrap = join(import.meta.dirname, 'bootstrap.mjs');
const command = join(import.meta.dirname, 'command.ts');

/** A command that prints its process id and arguments and keeps running. */
const staying = join(folder, 'staying.ts');
writeFileSync(
  staying,
  `import { runCommand } from ${JSON.stringify(command)};
   runCommand(async (scope) => {
     const timer = setInterval(() => undefined, 1000);
     scope.defer('timer', () => { clearInterval(timer); console.log('closed'); });
     console.log(JSON.stringify({ pid: process.pid, node: process.version, args: process.argv.slice(2) }));
     return new Promise(() => undefined);
   });`,
);
const ending = join(folder, 'ending.ts');
writeFileSync(
  ending,
  `import { runCommand } from ${JSON.stringify(command)};
   runCommand(async (scope) => {
     scope.defer('part', () => console.log('closed'));
     return { exitCode: 3, lastLine: 'the last line' };
   });`,
);

function run(...args: string[]) {
  const child = spawn(process.execPath, [bootstrap, ...args], {
    env: { ...process.env, INTERLOCK_DATA: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

test('runs the file with Node 24 and its arguments, and passes a signal on', async (t) => {
  const { child, lines } = run(staying, 'a', '--b');
  t.after(() => child.kill('SIGKILL'));
  const { node, args } = JSON.parse((await lines.next()).value ?? '{}');
  assert.match(node, /^v24\./);
  assert.deepEqual(args, ['a', '--b']);
  child.kill('SIGTERM');
  assert.equal((await lines.next()).value, 'closed');
  assert.deepEqual(await once(child, 'close'), [143, null]);
});

test('the command closes everything when the bootstrap is killed', async () => {
  const { child, lines } = run(staying);
  const { pid } = JSON.parse((await lines.next()).value ?? '{}');
  child.kill('SIGKILL');
  while (processStart(pid) !== undefined) await delay(5);
});

test('exits with the exit code of the command and prints its last line after everything is closed', async () => {
  const { child, lines } = run(ending);
  assert.equal((await lines.next()).value, 'closed');
  assert.equal((await lines.next()).value, 'the last line');
  assert.deepEqual(await once(child, 'close'), [3, null]);
});

test('names a file that does not exist', async () => {
  const { child } = run('deploy/local/nothing.ts');
  const chunks: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
  assert.deepEqual(await once(child, 'close'), [1, null]);
  assert.match(chunks.join(''), /deploy\/local\/nothing\.ts does not exist/);
});

test('a command that npm runs ends with npm, even if only npm gets the signal', async (t) => {
  for (const shell of [[], ['sh', '-c', '"$@"; exit', 'sh']]) {
    // Acts as npm: it starts the script, and does not signal it when it is killed itself.
    const starter = `const [command, ...args] = process.argv.slice(1);
      require('child_process').spawn(command, args, { stdio: 'inherit' });
      setInterval(() => {}, 1000);`;
    const npm = spawn(process.execPath, ['-e', starter, '--', ...shell, process.execPath, bootstrap, staying], {
      env: { ...process.env, INTERLOCK_DATA: folder, npm_lifecycle_event: 'up' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: npm.stdout })[Symbol.asyncIterator]();
    const { pid } = JSON.parse((await lines.next()).value ?? '');
    t.after(() => {
      if (processStart(pid) !== undefined) process.kill(pid, 'SIGKILL');
    });
    npm.kill('SIGTERM');
    assert.equal((await lines.next()).value, 'closed');
    while (processStart(pid) !== undefined) await delay(20);
  }
});
