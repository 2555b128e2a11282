import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { makeMissing } from '../../deploy/kubernetes/setup/missing-secrets.ts';
import { makeSecrets, namesNeeded, secretNames } from '../../deploy/kubernetes/setup/secrets.ts';
import { openHelm } from './helm.ts';
import { frozenIn, upgradeProblems } from './immutable-fields.ts';
import { readLastVersion } from './last-version.ts';
import { workloadsIn } from './references.ts';
import { type KubernetesObject, objectsIn, overlays, render } from './render.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-upgrade-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const last = readLastVersion();

/** Objects of the last version that were removed, and whose deletion "Upgrade" in docs/how-to/deploy-on-kubernetes.md has. */
const documentedRemovals: readonly string[] = [];
const problemsOver = (
  before: Parameters<typeof upgradeProblems>[0],
  objects: readonly KubernetesObject[],
): readonly string[] =>
  upgradeProblems(before, frozenIn(objects)).filter(
    (problem) => !documentedRemovals.some((key) => problem.startsWith(`${key}: is no longer rendered`)),
  );

for (const overlay of overlays)
  test(`an API server accepts the ${overlay} overlay over that of the last version`, async () => {
    // An installation gets several hosts in place of its overlay without them.
    const before = last.overlays[overlay.replace(/-hosts$/, '')] ?? {};
    assert.deepEqual(problemsOver(before, await render(overlay)), []);
    assert.ok(Object.keys(before).length > 40);
  });

test('helm upgrade is accepted over the chart of the last version', async () => {
  assert.deepEqual(problemsOver(last.chart, await openHelm(folder, process.env).template()), []);
  assert.ok(Object.keys(last.chart).length > 20);
});

const claim = `apiVersion: apps/v1
kind: StatefulSet
metadata: { name: disk }
spec:
  serviceName: disk
  selector: { matchLabels: { name: disk } }
  volumeClaimTemplates: [{ metadata: { name: data }, spec: { resources: { requests: { storage: 5Gi } } } }]
`;
const refused: readonly (readonly [string, string, string, RegExp])[] = [
  ['a claim template with a label more', claim, claim.replace('name: data', 'name: data, labels: { a: b }'), /orphan/],
  ['another size in a claim template', claim, claim.replace('5Gi', '6Gi'), /delete statefulset disk --cascade=orphan/],
  [
    'another selector',
    claim,
    claim.replace('matchLabels: { name: disk', 'matchLabels: { name: other'),
    /selector is immutable/,
  ],
  ['an object under another name', claim, claim.replace('{ name: disk }', '{ name: disks }'), /no longer rendered/],
  [
    'a Deployment with another selector',
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { selector: { matchLabels: { a: b } } }',
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: a }\nspec: { selector: { matchLabels: { a: c } } }',
    /Deployment a: selector/,
  ],
  [
    'a Service that gets an address',
    'apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: { clusterIP: None }',
    'apiVersion: v1\nkind: Service\nmetadata: { name: a }\nspec: {}',
    /Service a: clusterIP/,
  ],
  [
    'a Job with another image under the same name',
    'apiVersion: batch/v1\nkind: Job\nmetadata: { name: a }\nspec: { ttlSecondsAfterFinished: 1, template: { image: a } }',
    'apiVersion: batch/v1\nkind: Job\nmetadata: { name: a }\nspec: { ttlSecondsAfterFinished: 1, template: { image: b } }',
    /Name the Job by its content/,
  ],
  [
    'a claim of another class',
    'apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: a }\nspec: { storageClassName: a }',
    'apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: a }\nspec: { storageClassName: b }',
    /storageClassName/,
  ],
  [
    'a role binding to another role',
    'apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: a }\nroleRef: { name: a }',
    'apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: a }\nroleRef: { name: b }',
    /roleRef/,
  ],
  [
    'an immutable ConfigMap with other data',
    'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\nimmutable: true\ndata: { a: b }',
    'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\nimmutable: true\ndata: { a: c }',
    /data is immutable/,
  ],
];
for (const [what, before, now, words] of refused)
  test(`an upgrade is refused for ${what}, with what to do`, () => {
    const problems = upgradeProblems(frozenIn(objectsIn(before)), frozenIn(objectsIn(now)));
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0] ?? '', words);
    assert.deepEqual(upgradeProblems(frozenIn(objectsIn(before)), frozenIn(objectsIn(before))), []);
  });

test('an upgrade may change replicas, images and the size of a claim, and may name a default', () => {
  const changed = claim.replace(
    'serviceName: disk',
    'serviceName: disk\n  replicas: 2\n  podManagementPolicy: OrderedReady',
  );
  assert.deepEqual(upgradeProblems(frozenIn(objectsIn(claim)), frozenIn(objectsIn(changed))), []);
});

for (const overlay of overlays)
  test(`${overlay}: every Job is named by its content, and is deleted after its end`, async () => {
    const jobs = workloadsIn(await render(overlay)).filter(({ kind }) => kind === 'Job');
    assert.ok(jobs.length > 0);
    for (const { metadata, spec } of jobs) {
      assert.match(metadata.name, /-[a-z0-9]{10}$/);
      assert.ok(Number(spec.ttlSecondsAfterFinished) > 0, metadata.name);
    }
  });

for (const overlay of ['local', 'production'] as const)
  test(`${overlay}: \`secrets --missing\` makes exactly the Secrets that this version adds to the last one`, async () => {
    const hasCertificates = overlay === 'production';
    const request = { namespace: 'interlock', hasCertificates, now: Date.now(), random: systemRandom };
    // No workload mounts the administrator's.
    const before = new Set([...(last.secrets[overlay] ?? []), secretNames.administrator]);
    const all = await makeSecrets(request);
    const existing = all.filter(({ metadata: { name } }) => before.has(name) || name === secretNames.authority);
    const made = await makeMissing(existing, request);
    const needed = namesNeeded(hasCertificates).filter((name) => name !== secretNames.postgres);
    assert.deepEqual(
      made.map(({ metadata }) => metadata.name).sort(),
      needed.filter((name) => !before.has(name)).sort(),
    );
    assert.ok(made.length > 3);
  });
