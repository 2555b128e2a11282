import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { packTesting } from './pack.ts';

/** The package as users get it: packed, installed in an empty folder, and run with a fake podman. */

const folder = mkdtempSync(join(tmpdir(), 'interlock-testing-'));
const place = join(folder, 'place');
before(() => {
  const archive = packTesting(join(folder, 'archive'));
  mkdirSync(place);
  writeFileSync(join(place, 'package.json'), '{ "private": true, "type": "module" }');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--silent', archive], { cwd: place });
});
after(() => rmSync(folder, { recursive: true }));

const environment = {
  GATEWAY_URL: 'https://localhost:8443',
  VAULT_URL_TEMPLATE: 'https://{vault}.vault.interlock.localhost:8443',
  CLIENT_ID: 'c',
  CA_FILE: '/data/certificates/authority.pem',
  IMDS_URL: 'http://127.0.0.1:8442',
};

/** Creates a fake podman that records its arguments and acts as a container. @param isHealthy shell command of its health check */
const fakePodman = (name: string, isHealthy: string) => {
  const bin = join(folder, name);
  mkdirSync(bin);
  const script = `#!/bin/sh
echo "$@" >> ${bin}/calls
case "$1 $4" in
  run*) echo container-1;;
  "exec /app/deploy/local/health.ts") ${isHealthy};;
  "exec /app/services/cli/src/main.ts") echo '${JSON.stringify(environment)}';;
  exec*) echo PEM;;
  inspect*) echo exited;;
  logs*) echo "Postgres did not start";;
esac
`;
  writeFileSync(join(bin, 'podman'), script);
  chmodSync(join(bin, 'podman'), 0o755);
  return bin;
};

/** Runs a program in the folder of the user. @returns what it printed, as JSON */
const run = (bin: string, program: string) => {
  writeFileSync(join(place, 'program.js'), `import { start } from '@interlock/testing';\n${program}`);
  const PATH = `${bin}:${dirname(process.execPath)}:/usr/bin:/bin`;
  return JSON.parse(execFileSync('node', ['program.js'], { cwd: place, env: { PATH }, encoding: 'utf8' }));
};

test('the packed package starts a cloud from an empty folder, gives its endpoints, and removes it on stop', () => {
  const bin = fakePodman('healthy', 'exit 0');
  const { env, vault, authority, content } = run(
    bin,
    `import { existsSync, readFileSync } from 'node:fs';
     const cloud = await start({ image: 'own/image:1', settings: { LEASE_TTL_MS: '5000' } });
     const content = readFileSync(cloud.env.CA_FILE, 'utf8');
     await cloud.stop();
     await cloud.stop();
     console.log(JSON.stringify({ ...cloud, vault: cloud.endpoints.vault('kv1'), content, left: existsSync(cloud.env.CA_FILE) }));`,
  );
  assert.equal(vault, 'https://kv1.vault.interlock.localhost:8443');
  assert.equal(env.CLIENT_ID, 'c');
  assert.equal(env.NODE_EXTRA_CA_CERTS, env.CA_FILE);
  assert.deepEqual([authority, content], ['PEM\n', 'PEM\n']);
  const calls = readFileSync(join(bin, 'calls'), 'utf8').trim().split('\n');
  const started = calls.find((call) => call.startsWith('run ')) ?? '';
  const [, port] = /INTERLOCK_GATEWAY_PORT=(\d+)/.exec(started) ?? [];
  assert.match(
    started,
    new RegExp(`--publish 127\\.0\\.0\\.1:${port}:${port} .*--env LEASE_TTL_MS=5000 .* own/image:1$`),
  );
  assert.deepEqual(
    calls.filter((call) => /^(stop|rm)/.test(call)),
    ['stop --time 20 container-1', 'rm --force --volumes container-1'],
  );
});

test('removes a cloud that did not start, and the error has the end of its log', () => {
  const bin = fakePodman('ill', 'exit 1');
  const { message } = run(bin, `await start().catch(({ message }) => console.log(JSON.stringify({ message })));`);
  assert.match(message, /the cloud did not start: the container is exited\nPostgres did not start/);
  assert.match(readFileSync(join(bin, 'calls'), 'utf8'), /^rm --force --volumes container-1$/m);
});

test('without podman or docker, the error names both', () => {
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  writeFileSync(
    join(place, 'program.js'),
    "import { start } from '@interlock/testing';\nawait start({ runtime: 'docker' });",
  );
  const node = process.execPath;
  assert.throws(
    () => execFileSync(node, ['program.js'], { cwd: place, env: { PATH: empty }, stdio: 'pipe' }),
    /podman or docker/,
  );
});
