import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { makeAuthority, makeServer, pemOf } from '@interlock/local/certificates.ts';
import { type Authorization, type Implementation, type RunningServer, service, startServer } from '@interlock/rpc';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { pack } from '../pack.ts';
import manifest from '../package.json' with { type: 'json' };

// Packs the whole command line and installs it with npm: a minute. In `npm test`, bundle.test.ts bundles the command and runs it.
const folder = mkdtempSync(join(tmpdir(), 'interlock-packed-'));
const home = join(folder, 'home');
let server: RunningServer;

before(async () => {
  const archive = await pack(join(folder, 'archive'));
  const place = join(folder, 'place');
  mkdirSync(place);
  mkdirSync(home);
  writeFileSync(join(place, 'package.json'), '{ "private": true }');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--silent', archive], { cwd: place });
  server = await identityServer();
});
after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true });
});

/** An identity service that gives every caller a token and has two tenants. It refuses all other calls. */
async function identityServer(): Promise<RunningServer> {
  const authority = await makeAuthority(Date.now());
  const { certificate, key } = await pemOf(await makeServer(authority, Date.now(), { dns: ['localhost'], ip: [] }));
  writeFileSync(join(folder, 'ca.crt'), (await pemOf(authority)).certificate);
  const none = () => Promise.reject(new Error('this test does not call it'));
  const names = Object.keys(IdentityServiceDefinition.methods);
  const implementation = {
    ...Object.fromEntries(names.map((name) => [name, none])),
    issueToken: async () => ({ accessToken: 'a.token', expireTime: new Date(Date.now() + 60_000) }),
    listTenants: async () => ({
      tenants: ['t1', 't2'].map((id) => ({ name: `tenants/${id}`, displayName: id })),
      nextPageToken: '',
    }),
  } as unknown as Implementation<typeof IdentityServiceDefinition>;
  const authorization = Object.fromEntries(names.map((name) => [name, { public: true }]));
  return startServer({
    address: 'localhost:0',
    tls: { certificate, key },
    services: [
      service({
        definition: IdentityServiceDefinition,
        implementation,
        authorization: authorization as unknown as Authorization<typeof IdentityServiceDefinition>,
      }),
    ],
    authenticate: none,
    authorize: none,
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('test'),
    log: logger({ service: 'test', clock: systemClock, write: () => undefined }),
  });
}

const installed = () => join(folder, 'place/node_modules/interlock-cli');

/** Runs the installed command with this Node, in a folder and a home of its own. */
async function run(...args: readonly string[]) {
  const command = spawn(join(folder, 'place/node_modules/.bin/interlock'), args, {
    cwd: home,
    env: { HOME: home, PATH: `${dirname(process.execPath)}:/usr/bin:/bin` },
  });
  const [out, err]: [string[], string[]] = [[], []];
  command.stdout.on('data', (piece) => out.push(String(piece)));
  command.stderr.on('data', (piece) => err.push(String(piece)));
  const [status] = await once(command, 'close');
  return { status, out: out.join(''), err: err.join('') };
}

function experimentFile(): string {
  const file = join(home, 'an.experiment.yaml');
  copyFileSync(new URL('../../../e2e/experiments/files/no-events.experiment.yaml', import.meta.url), file);
  return file;
}

test('the package installs without a registry and contains only its own files', () => {
  assert.deepEqual(readdirSync(installed()).sort(), [
    'LICENSE',
    'README.md',
    'THIRD-PARTY.txt',
    'app',
    'bin',
    'dist',
    'package.json',
  ]);
  const own = JSON.parse(readFileSync(join(installed(), 'package.json'), 'utf8'));
  assert.deepEqual([own.name, own.version, own.engines], ['interlock-cli', manifest.version, { node: '>=24' }]);
  assert.doesNotMatch(JSON.stringify(own), /workspace:|catalog:|"private"|"dependencies"/);
  assert.match(readFileSync(join(installed(), 'THIRD-PARTY.txt'), 'utf8'), /^@grpc\/grpc-js [\d.]+ \(Apache-2\.0\)$/m);
  const texts = readdirSync(join(installed(), 'dist')).filter((name) => name.endsWith('.js'));
  for (const name of texts)
    assert.ok(
      !readFileSync(join(installed(), 'dist', name), 'utf8').includes(import.meta.dirname),
      `${name} names this clone`,
    );
});

test('the installed command prints version and help, and caches what Node compiled', async () => {
  assert.match((await run('--version')).out, new RegExp(`^interlock ${manifest.version}\\b`));
  const { status, out } = await run('vm', 'start', '--help');
  assert.equal(status, 0);
  assert.match(out, /Starts a stopped or deallocated machine|Starts/);
  assert.ok(existsSync(join(home, '.cache/interlock/compile-cache')));
});

test('a context is added, and commands call the cloud it names', async () => {
  const nowhere = await run('tenant', 'list');
  assert.equal(nowhere.status, 3);
  assert.match(nowhere.err, /no cloud runs on .*\/home\/\.local\/share\/interlock: start one with `interlock up`/);
  writeFileSync(join(home, 'me.secret'), 's');
  const services = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'];
  const principal = '00000000-0000-4000-8000-000000000001';
  const added = await run(
    ...['context', 'add', 'test', '--ca-file', '../ca.crt', '--as', `${principal}:me.secret`],
    ...services.flatMap((name) => ['--address', `${name}=${server.address}`]),
  );
  assert.deepEqual(added, { status: 0, out: '', err: 'test is added, and is the current context\n' });
  const listed = await run('tenant', 'list', '--query', 'tenants[].name');
  assert.deepEqual(JSON.parse(listed.out), ['tenants/t1', 'tenants/t2'], listed.err);
  const page = await run('page', '--group', 'g', '--subscription', 's', '--timeout', '10ms');
  assert.match(page.out, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/\n$/, page.err);
  const yaml = await run('tenant', 'list', '-o', 'yaml');
  assert.match(yaml.out, /^tenants:\n {2}- name: tenants\/t1\n/);
});

test('the package contains the cloud: its launcher starts, and an experiment runs in virtual time', async () => {
  const launcher = await run('up', '--replicas', '9');
  assert.deepEqual([launcher.status, launcher.out], [1, '']);
  assert.match(launcher.err, /^\n--replicas must be a whole number from 1 to 7, not "9"/);
  const played = await run('experiment', 'run', experimentFile(), '--target', 'simulated');
  assert.equal(played.status, 0, played.err);
  assert.match(played.out, /HELD/i);
});

test('every file of the cloud is JavaScript and imports nothing of the workspace by name', () => {
  const app = join(installed(), 'app');
  const files = readdirSync(app, { recursive: true, encoding: 'utf8' }).filter(
    (name) => !name.includes('node_modules'),
  );
  assert.deepEqual(
    files.filter((name) => /\.[cm]?ts$/.test(name) && !name.endsWith('.d.mts')),
    [],
  );
  const imported = /^(?:import\b.*|export\b.*|\} )from ['"]@interlock\/|\bimport\(['"]@interlock\//m;
  const importing = files.filter(
    (name) => name.endsWith('.js') && imported.test(readFileSync(join(app, name), 'utf8')),
  );
  assert.deepEqual(importing, []);
  assert.ok(files.includes('services/disk/src/main.js'));
});

test('experiment files are validated and exported without a clone', async () => {
  const file = experimentFile();
  const validated = await run('experiment', 'validate', file);
  assert.equal(validated.status, 0, validated.err);
  assert.match(validated.out, /valid/);
  const exported = await run('experiment', 'export', file, '--to', 'litmus', '--output', join(home, 'pack'));
  assert.equal(exported.status, 0, exported.err);
});
