import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { repository } from '../local/data-folder.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const loader = fileURLToPath(new URL('without-types.mjs', import.meta.url));

/** A source that prints its thread and whether Node loaded the module that strips types there. */
const says = `
import { isMainThread, Worker } from 'node:worker_threads';
import { name } from './name.ts';
const hasLoaded: boolean = process.moduleLoadList.some((one: string) => one.includes('deps/amaro'));
console.log(name, isMainThread ? 'main' : 'worker', hasLoaded);
if (isMainThread) new Worker(new URL(import.meta.url));
`;
const sources = { 'says.ts': says, 'name.ts': `export const name: string = 'it';` };
writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
const write = (form: (text: string) => string): void => {
  for (const [file, text] of Object.entries(sources)) writeFileSync(join(folder, file), form(text));
};
const run = async (...flags: readonly string[]): Promise<readonly string[]> => {
  const env = { NODE_DISABLE_COMPILE_CACHE: '1' };
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, join(folder, 'says.ts')], { env });
  return stdout.trim().split('\n').sort();
};

test('sources without types run in the main thread and in workers, and Node does not load its type stripper', async () => {
  write((text) => stripTypeScriptTypes(text));
  assert.deepEqual(await run(`--import=${loader}`), ['it main false', 'it worker false']);
  assert.deepEqual(await run(), ['it main true', 'it worker true'], 'Node alone goes by the name of a file');
});

test('a source that still has types fails with a SyntaxError', async () => {
  write((text) => text);
  await assert.rejects(run(`--import=${loader}`), /SyntaxError/);
});

test('every image starts Node with the loader without-types.mjs', () => {
  assert.match(
    readFileSync(join(repository, 'deploy/Containerfile'), 'utf8'),
    /^ENTRYPOINT \[.*"--import=\/app\/without-types\.mjs", "\/app\/main\.mjs"\]$/m,
  );
  assert.match(
    readFileSync(join(repository, 'deploy/images/assemble.mjs'), 'utf8'),
    /copyTo\('\/app\/without-types\.mjs'/,
  );
});
