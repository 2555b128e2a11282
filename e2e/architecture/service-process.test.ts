import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { readBuild, workloads } from '@interlock/host';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

for (const name of workloads) {
  test(`${name} --version prints name, version and revision and exits with 0, without any setting`, async () => {
    const main = join(root, 'services', name, 'src/main.ts');
    const { stdout } = await run(process.execPath, [main, '--version'], { env: { PATH: process.env.PATH } });
    const { version, revision } = readBuild();
    assert.equal(stdout, `${name} ${version} (revision ${revision})\n`);
  });
}

test('every service package has the version of the project', () => {
  const { version } = readBuild();
  for (const name of workloads) {
    const own = JSON.parse(readFileSync(join(root, 'services', name, 'package.json'), 'utf8'));
    assert.equal(own.version, version, name);
  }
});

test('a service refuses all its wrong settings at once, and ignores wrong OTEL_ values with a warning', async () => {
  const env = {
    PATH: process.env.PATH,
    OTEL_TRACES_SAMPLER: 'xray',
    OTEL_SDK_DISABLED: 'on',
    STORE_CONNECTIONS: 'many',
  };
  const main = join(root, 'services/identity/src/main.ts');
  const { code, stderr } = await run(process.execPath, [main], { env }).then(
    () => assert.fail('it started without settings'),
    (error: { code: number; stderr: string }) => error,
  );
  assert.equal(code, 78);
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const events = lines.map(({ event, setting }) => (setting === undefined ? event : `${event}: ${setting}`));
  assert.deepEqual(events.slice(0, 4), [
    'starting',
    'setting ignored: OTEL_SDK_DISABLED',
    'setting ignored: OTEL_TRACES_SAMPLER',
    'start failed',
  ]);
  assert.deepEqual([lines[0].version, lines[0].revision], Object.values(readBuild()));
  const refused = JSON.stringify(lines[3].error);
  assert.match(refused, /STORE_CONNECTIONS: got .*many.*DATABASE_URL|DATABASE_URL.*STORE_CONNECTIONS/);
  assert.doesNotMatch(refused, /OTEL_/);
});
