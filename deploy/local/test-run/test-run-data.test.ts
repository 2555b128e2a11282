import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { openTestRunData } from './test-run-data.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const [parent, temporaryParent] = [join(folder, 'runs'), join(folder, 'tmp')];
for (const made of [parent, temporaryParent]) mkdirSync(made);

test('a new run removes the folders of a killed run, keeps those of a running one, and removes its own', async (t) => {
  const script = `
    import { openTestRunData } from ${JSON.stringify(import.meta.resolve('./test-run-data.ts'))};
    const { data, temporary } = openTestRunData(${JSON.stringify(parent)}, ${JSON.stringify(temporaryParent)});
    console.log(JSON.stringify([data.root, temporary]));
    setInterval(() => {}, 1_000);`;
  const run = async () => {
    const args = ['--input-type=module-typescript', '--eval', script];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    const [root = '', temporary = '']: string[] = JSON.parse(value ?? '[]');
    mkdirSync(join(temporary, 'interlock-chaos-1'));
    writeFileSync(join(temporary, 'interlock-chaos-1', 'left'), '');
    return { child, root, temporary };
  };
  const killed = await run();
  const goesOn = await run();
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');

  const own = openTestRunData(parent, temporaryParent);
  assert.equal(statSync(own.temporary).mode & 0o777, 0o711, 'QEMU, another user, reaches sockets in it');
  assert.deepEqual([killed.root, killed.temporary].filter(existsSync), []);
  assert.deepEqual([goesOn.root, goesOn.temporary].filter(existsSync), [goesOn.root, goesOn.temporary]);
  assert.deepEqual([own.data.root, own.temporary].filter(existsSync), [own.data.root, own.temporary]);
  own.remove();
  goesOn.child.kill('SIGKILL');
  await once(goesOn.child, 'exit');
  openTestRunData(parent, temporaryParent).remove();
  assert.deepEqual([...readdirSync(parent), ...readdirSync(temporaryParent)], []);
});
