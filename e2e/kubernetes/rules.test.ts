import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namesNeeded } from '../../deploy/kubernetes/setup/secrets.ts';
import { podProblems } from './pod-rules.ts';
import { restrictedProblems } from './pod-security.ts';
import { danglingIn } from './references.ts';
import { type KubernetesObject, render } from './render.ts';
import { problemsOf } from './schemas.ts';

/** Tests the rules: each breaks something, and the rule must report it. */

const objects = await render('local');

/** A test may change anything in an object. */
type Draft = { [field: string]: Draft };

/** A copy of the overlay with one object changed. */
const broken = (kind: string, name: string, change: (object: Draft) => void): readonly KubernetesObject[] => {
  const copy: KubernetesObject[] = structuredClone([...objects]);
  const found = copy.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) assert.fail(`no ${kind} ${name}`);
  change(found as unknown as Draft);
  return copy;
};
const put = (object: Draft, path: string, value: unknown): void => {
  const fields = path.split('.');
  const last = fields.pop() ?? '';
  const parent = fields.reduce((inner, field) => inner[field] ?? assert.fail(`no ${field} in ${path}`), object);
  if (value === undefined) delete parent[last];
  else (parent as Record<string, unknown>)[last] = value;
};
const identity = (path: string, value: unknown) => {
  const copy = broken('Deployment', 'identity', (object) => put(object, path, value));
  return copy.find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'identity') ?? assert.fail();
};
const container = 'spec.template.spec.containers.0';

const podRules: readonly (readonly [string, unknown, RegExp])[] = [
  ['spec.template.spec.securityContext.runAsNonRoot', undefined, /may run as root/],
  ['spec.template.spec.securityContext.runAsUser', 0, /may run as root/],
  ['spec.template.spec.securityContext.seccompProfile', undefined, /no seccomp profile/],
  ['spec.template.spec.enableServiceLinks', true, /a variable for each Service/],
  ['spec.template.spec.automountServiceAccountToken', true, /a token of the cluster/],
  ['spec.template.spec.volumes', [{ name: 'x', hostPath: { path: '/' } }], /a folder of its node/],
  ['spec.template.spec.volumes.0.secret.defaultMode', 440, /secrets that others may read/],
  ['spec.template.spec.volumes.0.secret.defaultMode', undefined, /secrets that others may read/],
  ['spec.template.spec.terminationGracePeriodSeconds', 5, /killed before it is told/],
  [`${container}.resources.limits.memory`, undefined, /no limit of memory/],
  [`${container}.resources.requests.cpu`, undefined, /requests no cpu/],
  [`${container}.image`, 'localhost/interlock/identity', /does not say which version/],
  [`${container}.image`, 'localhost/interlock/identity:latest', /does not say which version/],
  [`${container}.imagePullPolicy`, 'Always', /only imported/],
  [`${container}.securityContext.allowPrivilegeEscalation`, undefined, /gain privileges/],
  [`${container}.securityContext.readOnlyRootFilesystem`, false, /write to its root/],
  [`${container}.securityContext.capabilities`, { drop: ['ALL'], add: ['NET_ADMIN'] }, /keeps capabilities/],
  [`${container}.livenessProbe`, undefined, /no livenessProbe/],
  [`${container}.readinessProbe`, undefined, /no readinessProbe/],
  [`${container}.env`, [{ name: 'STORE_PASSWORD', value: 'hunter2' }], /secret in plain text/],
];
for (const [path, value, words] of podRules) {
  test(`a pod rule reports ${path.replace(container, 'container')} = ${JSON.stringify(value)}`, () => {
    const problems = podProblems(identity(path, value));
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0] ?? '', words);
  });
}

const controls: readonly (readonly [string, unknown, string])[] = [
  ['spec.template.spec.hostNetwork', true, 'Host Namespaces'],
  ['spec.template.spec.securityContext.windowsOptions', { hostProcess: true }, 'HostProcess'],
  ['spec.template.spec.securityContext.sysctls', [{ name: 'kernel.msgmax', value: '1' }], 'Sysctls'],
  ['spec.template.spec.securityContext.appArmorProfile', { type: 'Unconfined' }, 'AppArmor'],
  ['spec.template.spec.securityContext.seLinuxOptions', { type: 'spc_t' }, 'SELinux'],
  ['spec.template.spec.securityContext.runAsNonRoot', undefined, 'Running as Non-root'],
  ['spec.template.spec.securityContext.seccompProfile', undefined, 'Seccomp'],
  ['spec.template.spec.volumes.0.nfs', { server: 'a', path: '/' }, 'Volume Types'],
  ['spec.template.spec.initContainers', [{ name: 'x', image: 'x:1' }], 'Privilege Escalation,Capabilities'],
  [`${container}.securityContext.privileged`, true, 'Privileged Containers'],
  [`${container}.securityContext.procMount`, 'Unmasked', '/proc Mount Type'],
  [`${container}.securityContext.runAsUser`, 0, 'Running as Non-root user'],
  [`${container}.securityContext.runAsNonRoot`, false, 'Running as Non-root'],
  [`${container}.securityContext.seccompProfile`, { type: 'Unconfined' }, 'Seccomp'],
  [`${container}.securityContext.capabilities.add`, ['SYS_TIME'], 'Capabilities'],
  [`${container}.securityContext.allowPrivilegeEscalation`, undefined, 'Privilege Escalation'],
  [`${container}.ports.0.hostPort`, 7400, 'Host Ports'],
  [`${container}.livenessProbe.httpGet.host`, '169.254.169.254', 'Host Probes / Lifecycle Hooks'],
];
for (const [path, value, control] of controls) {
  test(`PodSecurity restricted refuses ${path.replace(container, 'container')} = ${JSON.stringify(value)}`, () => {
    assert.equal(restrictedProblems(identity(path, value).spec.template.spec).join(), control);
  });
}

const schemaRules: readonly (readonly [string, unknown, RegExp])[] = [
  ['spec.replica', 3, /spec\.replica is no field/],
  ['spec.replicas', 'three', /replicas must be integer/],
  ['spec.template', undefined, /template/],
  [`${container}.readinessProbe.httpGet.prot`, 'probes', /prot is no field/],
  [`${container}.resources.limit`, {}, /resources\.limit is no field/],
  ['metadata.label', {}, /metadata\.label is no field/],
];
for (const [path, value, words] of schemaRules) {
  test(`the schema check reports ${path.replace(container, 'container')} = ${JSON.stringify(value)}`, async () => {
    assert.match((await problemsOf(identity(path, value))).join('\n'), words);
  });
}

test('the schema check refuses an unknown kind', async () => {
  const unknown = { ...identity('spec.replicas', 1), kind: 'Deploymint' };
  assert.match((await problemsOf(unknown)).join('\n'), /no model of apps\/v1 Deploymint/);
});

const references: readonly (readonly [string, string, string, unknown, RegExp])[] = [
  ['Deployment', 'identity', 'spec.selector.matchLabels', { a: 'b' }, /does not mean its own pods/],
  ['Service', 'key-vault', 'spec.selector', { 'app.kubernetes.io/name': 'vault' }, /no pod it selects has port/],
  ['Service', 'key-vault', 'spec.ports.0.targetPort', 'http', /no pod it selects has port http/],
  ['StatefulSet', 'disk', 'spec.serviceName', 'disks', /no Service disks/],
  ['HorizontalPodAutoscaler', 'identity', 'spec.scaleTargetRef.name', 'idenity', /target is not there/],
  ['NetworkPolicy', 'nats', 'spec.podSelector.matchLabels', { 'app.kubernetes.io/name': 'nat' }, /means no pod/],
  ['Deployment', 'identity', 'spec.template.spec.serviceAccountName', 'missing', /no ServiceAccount missing/],
  ['Deployment', 'identity', 'spec.template.spec.volumes.0.secret.secretName', 'lost', /nothing creates Secret lost/],
  ['Deployment', 'identity', `${container}.envFrom.0.configMapRef.name`, 'settings', /no ConfigMap settings/],
  ['Deployment', 'identity', `${container}.volumeMounts.0.name`, 'tsl', /no volume tsl/],
  ['Deployment', 'identity', `${container}.env.0.valueFrom.secretKeyRef.name`, 'lost', /nothing creates Secret lost/],
  ['StatefulSet', 'postgres', 'spec.template.spec.volumes.0.configMap.name', 'dbs', /no ConfigMap dbs/],
];
for (const [kind, name, path, value, words] of references) {
  test(`reports a dangling reference: ${kind} ${name} ${path.replace(container, 'container')}`, () => {
    const problems = danglingIn(
      broken(kind, name, (object) => put(object, path, value)),
      new Set(namesNeeded(false)),
    );
    assert.match(problems.join('\n'), words);
  });
}

test('reports no dangling reference in the unchanged overlay', () => {
  assert.deepEqual(danglingIn(objects, new Set(namesNeeded(false))), []);
});
