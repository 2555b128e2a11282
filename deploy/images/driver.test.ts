import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { repository } from '../local/data-folder.ts';
import { checkDriverOf } from './driver.mjs';

const folder = mkdtempSync(join(tmpdir(), 'interlock-image-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The part of an image's /app that the check reads, with the patched driver or with an unpatched one. */
const layOut = (name: string, isPatched: boolean): string => {
  const app = join(folder, name);
  const eventStore = join(app, 'libs/event-store');
  mkdirSync(join(eventStore, 'src'), { recursive: true });
  mkdirSync(join(eventStore, 'node_modules'));
  writeFileSync(join(app, 'package.json'), '{"type":"module"}');
  cpSync(join(repository, 'deploy/images/without-types.mjs'), join(app, 'without-types.mjs'));
  const source = readFileSync(join(repository, 'libs/event-store/src/driver-check.ts'), 'utf8');
  writeFileSync(join(eventStore, 'src/driver-check.ts'), stripTypeScriptTypes(source));
  const driver = join(app, 'node_modules/.pnpm/postgres');
  cpSync(realpathSync(join(repository, 'libs/event-store/node_modules/postgres')), driver, { recursive: true });
  const patch = join(repository, 'libs/event-store/patches/postgres@3.4.9.patch');
  if (!isPatched) execFileSync('git', ['apply', '--reverse', patch], { cwd: driver });
  symlinkSync(driver, join(eventStore, 'node_modules/postgres'));
  return app;
};

test('G2: accepts an image with the patched Postgres driver and refuses one with the unpatched driver', async () => {
  assert.equal(checkDriverOf(layOut('patched', true)), true);
  const unpatched = layOut('unpatched', false);
  const check = `import { checkDriverOf } from ${JSON.stringify(join(repository, 'deploy/images/driver.mjs'))};
    checkDriverOf(${JSON.stringify(unpatched)});`;
  await assert.rejects(
    promisify(execFile)(process.execPath, ['--input-type=module', '--eval', check]),
    /UnpatchedDriver: the package "postgres" is installed without the patch/,
  );
});

test('skips the driver check for an app without the event store', () => {
  assert.equal(checkDriverOf(join(folder, 'empty')), false);
});

test('the build applies the patch, and checks the driver of every image after its packages are installed', () => {
  assert.match(
    readFileSync(join(repository, 'deploy/images/assemble.mjs'), 'utf8'),
    /installPackages\(\);[^}]*checkDriverOf\(app, node\)/,
  );
  assert.match(
    readFileSync(join(repository, 'deploy/Containerfile'), 'utf8'),
    /^COPY libs\/event-store\/patches .*\n(.*\n)*RUN pnpm fetch/m,
  );
});
