import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
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

/** Any certificate: a client must be able to trust it. */
const authorityPem = `${rootCertificates[0]}\n`;

/** Creates a fake podman that records its arguments and acts as a container. @param isHealthy shell command of its health check */
const fakePodman = (name: string, isHealthy: string, described: object = environment) => {
  const bin = join(folder, name);
  mkdirSync(bin);
  writeFileSync(join(bin, 'authority.pem'), authorityPem);
  const script = `#!/bin/sh
echo "$@" >> ${bin}/calls
case "$1 $4" in
  run*) echo container-1;;
  "exec /app/deploy/local/health.ts") ${isHealthy};;
  "exec /app/services/cli/src/main.ts") echo '${JSON.stringify(described)}';;
  exec*) cat ${bin}/authority.pem;;
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
  assert.deepEqual([authority, content], [authorityPem, authorityPem]);
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

test('the example compiles against the types of the package, and its tests pass', async () => {
  const example = join(place, 'example.ts');
  copyFileSync(new URL('example/a-cloud-in-your-tests.ts', import.meta.url), example);
  const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
  symlinkSync(join(modules, '@types'), join(place, 'node_modules/@types'));
  const options = [
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--target',
    'es2024',
    '--module',
    'nodenext',
    '--types',
    'node',
  ];
  execFileSync(join(modules, '.bin/tsc'), [...options, example], { cwd: place, stdio: 'inherit' });
  const gateway = createServer((request, response) => {
    response.writeHead(request.url?.startsWith('/metadata/endpoints?') ? 200 : 404).end('{}');
  });
  await once(gateway.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`;
  const bin = fakePodman('of-example', 'exit 0', { ...environment, GATEWAY_URL: url });
  const env = { PATH: `${bin}:${dirname(process.execPath)}:/usr/bin:/bin` };
  try {
    const args = ['--test', '--test-reporter=tap', example];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: place, env });
    assert.match(stdout, /^# pass 2$/m);
  } finally {
    gateway.close();
  }
  assert.match(readFileSync(join(bin, 'calls'), 'utf8'), /^rm --force --volumes container-1$/m);
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
