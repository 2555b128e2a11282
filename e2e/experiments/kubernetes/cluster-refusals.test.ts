import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { type Experiment, problemLines, readExperiment } from '@interlock/lab';
import { openKubectl } from '../../../deploy/kubernetes/kubectl.ts';
import { testKubectl } from '../../../deploy/kubernetes/test-kubectl.ts';
import { otherSettings } from '../cloud/setting-defaults.ts';
import { factsOf, refusedInCluster, refusedThere } from './cluster-refusals.ts';
import { clusterTarget } from './cluster-target.ts';

/** @param more sections, from line 4 */
const experimentOf = (step: string, more = ''): Experiment => {
  const text = `title: a test
estate: {premium: {machines: 1, disks: [premium-ssd], key: k1}}
timeline: [{at: 1s, ${step}}]
${more}`;
  const read = readExperiment(text);
  if ('problems' in read) assert.fail(problemLines('test', read.problems).join('\n'));
  return read.experiment;
};

const workload = (name: string, spec: object) => ({ metadata: { name }, spec: { template: { spec } } });
const shared = { data: { AUTHZ_TTL_MS: '2000' } };
const workloads = [
  workload('disk', { shareProcessNamespace: true, containers: [{ env: [{ name: 'LEASE_TTL_MS', value: '30000' }] }] }),
  workload('identity', { containers: [] }),
  workload('jaeger', {
    shareProcessNamespace: true,
    containers: [{ env: [{ name: 'SWEEP_INTERVAL_MS', value: '7' }] }],
  }),
];
const facts = factsOf(shared, workloads);

const messagesOf = (experiment: Experiment): readonly string[] =>
  refusedThere(experiment, facts).map(({ line, message }) => `${line}: ${message}`);

test('the facts of a cluster are those of its services', () => {
  assert.deepEqual(facts.settings, { AUTHZ_TTL_MS: '2000', LEASE_TTL_MS: '30000' });
  assert.deepEqual([...facts.pausable], ['disk']);
});

test('a cluster refuses the pause of a part whose pods do not share their process namespace', () => {
  assert.deepEqual(messagesOf(experimentOf('pause: disk, for: 2s')), []);
  assert.deepEqual(messagesOf(experimentOf('pause: identity, for: 2s')), [
    '3: pause-identity: identity cannot be paused: its pods do not share their process namespace',
  ]);
});

test('a cluster refuses a setting that it has otherwise, and accepts one that is its default', () => {
  const withSettings = (settings: string) => experimentOf('disable-key: premium, for: 5s', `settings: {${settings}}`);
  assert.deepEqual(messagesOf(withSettings('leaseTtl: 30s, authzTtl: 2s, sweepInterval: 10s')), []);
  assert.deepEqual(messagesOf(withSettings('sweepInterval: 1s')), [
    '4: the file needs SWEEP_INTERVAL_MS=1000, and the cluster has 10000',
  ]);
  assert.deepEqual(otherSettings({ settings: { RATE_LIMIT_NONE: '1' } }, {}), [
    { name: 'RATE_LIMIT_NONE', value: '1', has: 'none' },
  ]);
});

test('a cluster refuses a purge while it requires purge protection, and machines in QEMU without an image', () => {
  assert.deepEqual(messagesOf(experimentOf('purge-key: premium, leave: true')), [
    '3: purge-key-premium: it needs REQUIRE_PURGE_PROTECTION=false',
  ]);
  const experiment = experimentOf('disable-key: premium, for: 5s');
  const groups = experiment.estate.kind === 'planned' ? experiment.estate.groups : [];
  const inQemu: Experiment = {
    ...experiment,
    estate: { kind: 'planned', groups: groups.map((group) => ({ ...group, guest: 'qemu' as const })) },
  };
  assert.deepEqual(messagesOf(inQemu), [
    '2: the machines of premium run in QEMU, and compute of the cluster has no GUEST_IMAGE_FOLDER',
  ]);
});

test('no cluster ends compute without its guests: an experiment that expects them to run is refused', () => {
  const refused = (more: string) => refusedInCluster(experimentOf('kill: compute, for: 5s', more)).length;
  assert.equal(refused('expect: [premium.running]'), 1);
  assert.equal(refused('expect: [bytesLost == 0]'), 0);
});

test('a file that the cluster refuses changes nothing there: only its settings and workloads are read', async () => {
  const { folder, calls } = testKubectl([
    { when: 'get configmap interlock-settings', out: JSON.stringify(shared) },
    { when: 'get deployments,statefulsets', out: JSON.stringify({ items: workloads }) },
  ]);
  try {
    const place = { context: undefined, namespace: 'n' };
    const kubectl = openKubectl(place, { ...process.env, PATH: folder });
    const target = clusterTarget(place, { id: '', say: () => undefined }, kubectl);
    await assert.rejects(
      target.open(experimentOf('pause: identity, for: 2s', 'settings: {leaseTtl: 12s}'), new AbortController().signal),
      /^LauncherError: the file:3: pause-identity: .*overlays\/chaos.*\nthe file:4: the file needs LEASE_TTL_MS=12000, and the cluster has 30000/,
    );
    const asked = readFileSync(calls, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).args.split(' ')[2]);
    assert.deepEqual(new Set(asked), new Set(['get']));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
