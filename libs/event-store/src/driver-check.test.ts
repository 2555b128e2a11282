import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { checkDriver, type Driver, UnpatchedDriver } from './driver-check.ts';

const folder = mkdtempSync(join(tmpdir(), 'driver-'));
after(() => rmSync(folder, { recursive: true }));

/** The installed driver with the patch reverted, as npm would install it. */
const withoutPatch = (): string => {
  const installed = dirname(dirname(realpathSync(fileURLToPath(import.meta.resolve('postgres')))));
  cpSync(installed, folder, { recursive: true });
  const patch = join(import.meta.dirname, '../patches/postgres@3.4.9.patch');
  execFileSync('git', ['apply', '--reverse', patch], { cwd: folder });
  return pathToFileURL(join(folder, 'src/index.js')).href;
};
const unpatched = withoutPatch();

test('G2: the installed driver has the patch', async () => {
  await checkDriver();
});

test('G2: a driver without the patch is refused with its defect and the remedy', async () => {
  const driver: Driver = (await import(unpatched)).default;
  await assert.rejects(
    checkDriver(driver),
    (error) =>
      error instanceof UnpatchedDriver &&
      /a query on a lost connection is kept and not failed.*Install with pnpm/.test(error.message),
  );
});

test('G2: a store cannot be opened with a driver without the patch', async () => {
  const hook = join(folder, 'hook.mjs');
  writeFileSync(
    hook,
    `import { registerHooks } from 'node:module';
     registerHooks({ resolve: (name, context, next) =>
       name === 'postgres' ? { url: ${JSON.stringify(unpatched)}, format: 'module', shortCircuit: true } : next(name, context) });`,
  );
  const program = `
    import { openPostgresStore } from './src/index.ts';
    import { systemClock as clock, systemRandom as random } from '@interlock/runtime';
    await openPostgresStore({ url: 'postgres://absent@127.0.0.1:1/none', clock }).catch((error) => console.log(error.name));
    process.exit();`;
  const open = (...options: readonly string[]) =>
    promisify(execFile)(process.execPath, [...options, '--input-type=module', '--eval', program], {
      cwd: join(import.meta.dirname, '..'),
    });
  assert.equal((await open()).stdout, 'StoreUnavailable\n');
  assert.equal((await open('--import', hook)).stdout, 'UnpatchedDriver\n');
});
