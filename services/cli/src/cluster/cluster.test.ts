import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { reportLines } from '@interlock/kubernetes/jobs/report-lines.ts';
import { makeAuthority, makeServer, pemOf } from '@interlock/local/certificates.ts';
import { processStart } from '@interlock/local/lock.mjs';
import { serviceNames } from '@interlock/local/services.ts';
import { systemRandom } from '@interlock/runtime';
import { openKubectl } from '../../../../deploy/kubernetes/kubectl.ts';
import { type Answer, testKubectl } from '../../../../deploy/kubernetes/test-kubectl.ts';
import { run } from '../commands/run.ts';
import type { Terminal } from '../output/terminal.ts';
import { ClusterProblem } from '../problems.ts';
import { readSettings } from '../session/settings.ts';
import { sleepingClock } from '../session/test-session.ts';
import { openClusterCloud } from './cluster.ts';
import { runRehearsal } from './cluster-rehearsal.ts';

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const secretAnswer = (data: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])),
  });
const principalId = '00000000-0000-4000-8000-000000000001';
const administrator = JSON.stringify({
  principalId,
  secret: 's',
  tenant: 'tenants/t',
  subscription: 'subscriptions/x',
});
const forwards: readonly Answer[] = ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute', 'disk-0'].map(
  (target, n) => ({
    when: `port-forward (svc|pod)/${target} `,
    out: `Forwarding from 127.0.0.1:4000${n} -> 7400\n`,
    stays: true,
  }),
);
const podOf = (service: string, phase = 'Running') => ({
  metadata: { name: `${service}-0`, labels: { 'app.kubernetes.io/name': service } },
  status: { phase },
});
const podsAnswer = (pods: readonly object[]): Answer => ({
  when: 'get pods --selector app',
  out: JSON.stringify({ items: pods }),
});
const cluster: readonly Answer[] = [
  { when: 'get secret interlock-administrator', out: secretAnswer({ 'administrator.json': administrator }) },
  { when: 'get secret interlock-tls-client', out: secretAnswer({ 'tls.crt': 'C', 'tls.key': 'K', 'ca.crt': 'A' }) },
  podsAnswer(serviceNames.map((service) => podOf(service))),
  ...forwards,
];

const kubectlWith = (answers: readonly Answer[], context: string | undefined = 'laptop') => {
  const { folder, calls } = testKubectl(answers);
  made.push(folder);
  const env = { PATH: `${folder}:${process.env.PATH}` };
  const place = { context, namespace: 'interlock' };
  return { place, kubectl: openKubectl(place, env), env, calls };
};
const callsIn = (file: string): { args: string; input: string; pid: number }[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

test('the settings of a cloud in a cluster are read from its Secrets and port-forwards', async () => {
  const { place, env, calls } = kubectlWith(cluster);
  const cloud = await openClusterCloud(place, env);
  assert.equal(statSync(join(cloud.folder, 'administrator.json')).mode & 0o777, 0o600);
  const settings = readSettings({ data: cloud.folder }, {});
  assert.deepEqual(settings.addresses, {
    identity: '127.0.0.1:40000',
    'key-vault': '127.0.0.1:40001',
    'disk-encryption-set': '127.0.0.1:40002',
    disk: '127.0.0.1:40003',
    compute: '127.0.0.1:40004',
  });
  assert.deepEqual(settings.client, { certificate: 'C', key: 'K' });
  assert.equal(settings.authority, 'A');
  assert.equal(settings.credentials.principal, principalId);
  assert.equal(cloud.dataAddress('disk-0.disk.interlock.svc:7400'), '127.0.0.1:40005');
  assert.equal(cloud.dataAddress('elsewhere:1'), 'elsewhere:1');
  for (const { args } of callsIn(calls)) assert.match(args, /^--context laptop --namespace interlock /);
  cloud.close();
  assert.equal(existsSync(cloud.folder), false, 'what was secret is gone with it');
});

test('a cloud with several hosts is called through control processes, and data is read from each host', async () => {
  const others = serviceNames.filter((service) => service !== 'disk' && service !== 'compute');
  const pods = [...others, 'disk-control', 'disk-host', 'compute-control'].map((name) => podOf(name));
  const host = { when: 'port-forward pod/disk-host-0 ', out: 'Forwarding from 127.0.0.1:40006 -> 7400\n', stays: true };
  const { place, env, calls } = kubectlWith([podsAnswer(pods), host, ...cluster]);
  const cloud = await openClusterCloud(place, env);
  assert.deepEqual(cloud.absent, new Map());
  assert.equal(readSettings({ data: cloud.folder }, {}).addresses.disk, '127.0.0.1:40003');
  assert.equal(cloud.dataAddress('disk-host-0.disk-host.interlock.svc:7400'), '127.0.0.1:40006');
  cloud.close();
  const forwarded = callsIn(calls).flatMap(({ args }) => / pod\/(\S+)/.exec(args)?.[1] ?? []);
  assert.deepEqual(forwarded, ['disk-host-0'], 'a control process has no data');
});

/** A server that accepts connections and never responds, and a kubectl whose port-forwards all lead to it. */
const silentCluster = async (t: TestContext) => {
  const now = Date.now();
  const authority = await makeAuthority(now);
  const { certificate, key } = await pemOf(await makeServer(authority, now, { dns: ['localhost'], ip: [] }));
  const tls = { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': (await pemOf(authority)).certificate };
  let connections = 0;
  const server = createServer(() => {
    connections += 1;
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { env, calls } = kubectlWith([
    { when: 'get secret interlock-tls-client', out: secretAnswer(tls) },
    { when: 'port-forward', out: `Forwarding from 127.0.0.1:${port} -> 7400\n`, stays: true },
    ...cluster,
  ]);
  return { env, calls, connections: () => connections };
};

test('a command that is terminated leaves no secret and no port-forward behind', { timeout: 60_000 }, async (t) => {
  const { env, calls } = await silentCluster(t);
  const temporary = mkdtempSync(join(tmpdir(), 'interlock-ended-'));
  made.push(temporary);
  const main = join(import.meta.dirname, '../main.ts');
  const args = [main, 'vm', 'watch', 'g/vm1', '--kube-context', 'laptop'];
  const command = spawn(process.execPath, args, { env: { ...env, TMPDIR: temporary }, stdio: 'ignore' });
  t.after(() => command.kill('SIGKILL'));
  const left = () => readdirSync(temporary);
  while (!left().some((folder) => existsSync(join(temporary, folder, 'cloud.json')))) await delay(10);
  command.kill('SIGTERM');
  const [code] = await once(command, 'exit');
  assert.equal(code, 143);
  assert.deepEqual(left(), []);
  const ways = callsIn(calls).filter(({ args: called }) => called.includes('port-forward'));
  assert.equal(ways.length, 6);
  for (const { pid } of ways) while (processStart(pid) !== undefined) await delay(10);
});

test('--kube-context overrides addresses of the environment, and --data overrides its Kubernetes context', async (t) => {
  const { env, calls, connections } = await silentCluster(t);
  const elsewhere = { INTERLOCK_IDENTITY_ADDRESS: '127.0.0.1:1', INTERLOCK_CA_FILE: '/nonexistent/ca.pem' };
  const list = ['subscription', 'list', '--timeout', '500ms'];
  assert.equal(await run([...list, '--kube-context', 'laptop'], { ...env, ...elsewhere }, silent), 3);
  assert.ok(connections() > 0, 'the way into the cluster was taken');
  const called = callsIn(calls).length;
  const said: string[] = [];
  const terminal: Terminal = { ...silent, err: (text) => said.push(text) };
  const folder = '/nonexistent/interlock';
  assert.equal(await run([...list, '--data', folder], { ...env, INTERLOCK_KUBE_CONTEXT: 'laptop' }, terminal), 3);
  assert.match(said.join('\n'), /no cloud runs on \/nonexistent\/interlock/);
  assert.equal(callsIn(calls).length, called, 'no cluster was asked');
});

test('trace says how to reach Jaeger for a trace of a cluster', async () => {
  const said: string[] = [];
  const terminal: Terminal = { ...silent, err: (text) => said.push(text) };
  const id = 'ab'.repeat(16);
  const env = { INTERLOCK_DATA: '/nonexistent/interlock', INTERLOCK_KUBE_CONTEXT: 'laptop' };
  assert.equal(await run(['trace', id], env, terminal), 1);
  assert.match(
    said.join('\n'),
    new RegExp(`kubectl --context laptop --namespace interlock port-forward svc/jaeger .*/trace/${id}`),
  );
  assert.equal(await run(['trace', id], { INTERLOCK_DATA: env.INTERLOCK_DATA }, terminal), 1);
  assert.match(said.at(-1) ?? '', /no spans of trace \w+ are in \/nonexistent/);
});

test('an unreachable service does not prevent calls to the others', async () => {
  const { place, env } = kubectlWith([
    podsAnswer([podOf('identity'), podOf('key-vault'), podOf('disk-encryption-set'), podOf('compute', 'Pending')]),
    // Its node is gone, and Kubernetes has not noticed yet.
    { when: 'port-forward svc/disk-encryption-set ', err: 'error: error dialing backend: i/o timeout\n', code: 1 },
    ...cluster,
  ]);
  const cloud = await openClusterCloud(place, env);
  const { addresses } = readSettings({ data: cloud.folder }, {});
  assert.deepEqual([addresses.identity, addresses['key-vault']], ['127.0.0.1:40000', '127.0.0.1:40001']);
  assert.deepEqual([...cloud.absent.keys()].sort(), ['compute', 'disk', 'disk-encryption-set']);
  assert.match(
    cloud.absent.get('compute') ?? '',
    /^no pod of compute runs in namespace interlock: kubectl .* get pods/,
  );
  assert.match(cloud.absent.get('disk-encryption-set') ?? '', /error dialing backend/);
  cloud.close();
});

test('a call to a service without a running pod fails with NO_ANSWER and the reason', async () => {
  const { env } = kubectlWith([podsAnswer([podOf('key-vault')]), ...cluster]);
  const said: string[] = [];
  const terminal: Terminal = { ...silent, err: (text) => said.push(text) };
  assert.equal(await run(['subscription', 'list', '--kube-context', 'laptop'], env, terminal), 3);
  assert.match(said.join('\n'), /^error: UNAVAILABLE NO_ANSWER: .*no pod of identity runs in namespace interlock/);
});

test('a cluster without any running pod is refused with that reason', async () => {
  const { place, env } = kubectlWith([podsAnswer([]), ...cluster]);
  await assert.rejects(openClusterCloud(place, env), /no pod of identity runs in namespace interlock/);
});

for (const [what, words, cure] of [
  ['an unknown context', 'error: context "laptop" does not exist', /get-contexts lists/],
  ['no context at all', 'error: current-context is not set', /--kube-context/],
  [
    'an unreachable cluster',
    'dial tcp 127.0.0.1:6443: connect: connection refused',
    /context "laptop" does not respond/,
  ],
  ['a cluster that wants a login', 'error: You must be logged in to the server (Unauthorized)', /log in/],
  [
    'a secret that is missing',
    'Error from server (NotFound): secrets "interlock-administrator" not found',
    /Job setup/,
  ],
  ['a user without rights', 'Error from server (Forbidden): secrets is forbidden', /lacks this right in namespace/],
] as const) {
  test(`${what}: the command ends with 1 and says what to do`, async () => {
    const { env } = kubectlWith([{ when: '', err: `${words}\n`, code: 1 }]);
    const said: string[] = [];
    const terminal: Terminal = { ...silent, err: (text) => said.push(text) };
    assert.equal(await run(['status', '--kube-context', 'laptop'], env, terminal), 1);
    assert.match(said.join('\n'), cure);
  });
}

const silent: Terminal = {
  out: () => undefined,
  err: () => undefined,
  screen: () => undefined,
  outBytes: async () => undefined,
  in: async function* () {},
  readFile: () => Buffer.alloc(0),
  writeFile: async () => undefined,
  newFile: (path) => ({ path, write: () => undefined, discard: () => undefined }),
};

test('without kubectl, the error says that it is not on the PATH', async () => {
  await assert.rejects(
    openClusterCloud({ context: undefined, namespace: 'n' }, { PATH: '/nonexistent' }),
    (error) => error instanceof ClusterProblem && /kubectl is not on the PATH/.test(error.message),
  );
});

test('a caller with --as needs no right to read the Secret of the administrator', async () => {
  const words = 'Error from server (Forbidden): secrets "interlock-administrator" is forbidden\n';
  const { place, env } = kubectlWith([{ when: 'interlock-administrator', err: words, code: 1 }, ...cluster]);
  await assert.rejects(openClusterCloud(place, env), /lacks this right in namespace/);
  const cloud = await openClusterCloud(place, env, true);
  const secretFile = join(cloud.folder, 'ca.crt');
  const { credentials, names } = readSettings({ data: cloud.folder, as: `${principalId}:${secretFile}` }, {});
  assert.deepEqual([credentials.principal, names.subscription], [principalId, undefined]);
  cloud.close();
});

test('an error names a Secret that lacks a required key', async () => {
  const { place, env } = kubectlWith([
    { when: 'interlock-administrator', out: secretAnswer({ other: 'x' }) },
    ...cluster.slice(1),
  ]);
  await assert.rejects(openClusterCloud(place, env), /interlock-administrator .* has no administrator\.json/);
});

const report = { 'report.json': '{"verdict":"pass"}', 'report.html': '<p>' };
const logOf = (files: Readonly<Record<string, string>>): string =>
  ['a step', ...Object.entries(files).flatMap(([name, text]) => reportLines(name, Buffer.from(text)))].join('\n');
const job = (status: object, log: string): readonly Answer[] => [
  { when: 'create --filename -', out: 'created' },
  { when: 'get deployment identity', out: 'registry.example.com/interlock/identity:0.1.0' },
  { when: 'get pods --selector job-name', out: JSON.stringify({ items: [{ status: { phase: 'Running' } }] }) },
  { when: 'logs --follow', out: log },
  { when: 'get job', out: JSON.stringify({ status }) },
  { when: 'delete job', out: 'deleted' },
];
const rehearse = async (answers: readonly Answer[], image?: string) => {
  const { kubectl, calls } = kubectlWith(answers);
  const out = mkdtempSync(join(tmpdir(), 'interlock-report-'));
  made.push(out);
  const lines: string[] = [];
  const terminal = { ...silent, out: (text: string) => lines.push(text), err: (text: string) => lines.push(text) };
  const outcome = runRehearsal(kubectl, { clock: sleepingClock(), random: systemRandom, terminal, out, image });
  return { outcome, out, lines, calls };
};

test('a rehearsal on a cluster runs as a Job, and its report is written locally', async () => {
  const { outcome, out, lines, calls } = await rehearse(job({ succeeded: 1 }, logOf(report)));
  assert.equal(await outcome, true);
  for (const [name, text] of Object.entries(report)) assert.equal(readFileSync(join(out, name), 'utf8'), text);
  assert.ok(lines.includes('a step'));
  assert.ok(!lines.some((line) => line.startsWith('interlock-file')));
  const { input } = callsIn(calls).find(({ args }) => args.includes('create')) ?? assert.fail('no Job was made');
  const jobs: readonly RehearsalJob[] = JSON.parse(input).items;
  const [rehearsal, ...files] = jobs;
  const tag = /^rehearsal-([0-9a-f]{6})$/.exec(rehearsal?.metadata.name ?? '')?.[1];
  const env = new Map(rehearsal?.spec.template.spec.containers[0]?.env.map(({ name, value }) => [name, value]));
  assert.equal(env.get('REHEARSAL_TAG'), `-${tag}`);
  for (const one of jobs)
    assert.equal(one.spec.template.spec.containers[0]?.image, 'registry.example.com/interlock/tools:0.1.0');
  assert.deepEqual(
    files.map(({ metadata }) => metadata.name),
    [`rehearsal-files-disk-${tag}`, `rehearsal-files-compute-${tag}`],
  );
  const found = files.map(({ spec }) => `${spec.template.spec.hostname}.${spec.template.spec.subdomain}:7443`);
  assert.deepEqual(found, [env.get('FILES_OF_DISK'), env.get('FILES_OF_COMPUTE')]);
  assert.equal(found[0], `disk-${tag}.rehearsal-files:7443`);
  const removed = callsIn(calls).find(({ args }) => args.includes('delete job')) ?? assert.fail('nothing is removed');
  for (const { metadata } of files) assert.ok(removed.args.includes(metadata.name));
});

interface RehearsalJob {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly hostname?: string;
        readonly subdomain?: string;
        readonly containers: readonly {
          readonly image: string;
          readonly env: readonly { readonly name: string; readonly value: string }[];
        }[];
      };
    };
  };
}

test('a rehearsal needs --image if the image of identity is given by digest', async () => {
  const byDigest = {
    when: 'get deployment identity',
    out: `registry.example.com/interlock/identity@sha256:${'0'.repeat(64)}`,
  };
  const { outcome, calls } = await rehearse([byDigest, ...job({ succeeded: 1 }, logOf(report))]);
  await assert.rejects(outcome, /by digest.*--image/);
  assert.ok(!callsIn(calls).some(({ args }) => args.includes('create')), 'nothing was made');
  const named = await rehearse(
    [byDigest, ...job({ succeeded: 1 }, logOf(report))],
    'registry.example.com/tools@sha256:1',
  );
  assert.equal(await named.outcome, true);
});

test('a rehearsal in which a rule did not hold returns false, and its report is written', async () => {
  const { outcome, out } = await rehearse(job({ failed: 1 }, logOf(report)));
  assert.equal(await outcome, false);
  assert.ok(existsSync(join(out, 'report.json')));
});

test('a Job that ends without a report is an error that says so', async () => {
  const { outcome } = await rehearse(job({ failed: 1 }, 'cannot start'));
  await assert.rejects(outcome, /ended without a report/);
});

test('a Job whose image cannot be pulled is deleted, and the error says what to do', async () => {
  const waiting = { reason: 'ErrImagePull', message: 'no such image' };
  const { outcome, lines, calls } = await rehearse([
    {
      when: 'get pods --selector job-name',
      out: JSON.stringify({ items: [{ status: { containerStatuses: [{ state: { waiting } }] } }] }),
    },
    { when: 'delete job', out: 'deleted' },
    ...job({}, ''),
  ]);
  await assert.rejects(outcome, /ErrImagePull: no such image\nload the image into the cluster/);
  assert.ok(callsIn(calls).some(({ args }) => args.includes('delete job rehearsal-')));
  assert.ok(lines.some((line) => /is deleted/.test(line)));
});

test('a report with a missing line is not written', async () => {
  const half = logOf({ 'report.json': gzipSync(systemRandom.bytes(40_000)).toString('base64') })
    .split('\n')
    .slice(0, -1)
    .join('\n');
  const { outcome, out } = await rehearse(job({ succeeded: 1 }, half));
  await assert.rejects(outcome, /of report\.json only/);
  assert.equal(existsSync(join(out, 'report.json')), false);
});
