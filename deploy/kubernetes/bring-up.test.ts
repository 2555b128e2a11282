import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { bringUp } from './bring-up.ts';
import { openKubectl } from './kubectl.ts';
import { type Answer, testKubectl } from './test-kubectl.ts';

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Runs `bringUp` with a kubectl that gives these answers. @returns the messages, and the calls of kubectl */
const play = async (answers: readonly Answer[], hasNewImages = true) => {
  const { folder, calls } = testKubectl([...answers, { when: '' }]);
  made.push(folder);
  const kubectl = openKubectl(
    { context: 'kind-kind', namespace: 'interlock' },
    { PATH: `${folder}:${process.env.PATH}` },
  );
  const said: string[] = [];
  const outcome = await bringUp(kubectl, {
    overlay: 'overlays/local',
    readySeconds: 7,
    hasNewImages,
    say: (line) => said.push(line),
  }).then(
    () => 'ready',
    (error: Error) => `${error.name}: ${error.message}`,
  );
  const called = readFileSync(calls, 'utf8')
    .trim()
    .split('\n')
    .map((line) => String(JSON.parse(line).args).replace('--context kind-kind --namespace interlock ', ''));
  return { outcome, said, called };
};
const isThere: Answer = { when: 'get deployment identity', out: 'deployment.apps/identity' };

test('applies a new cloud, waits for all its parts, compute too, and restarts nothing', async () => {
  const { outcome, called } = await play([]);
  assert.equal(outcome, 'ready');
  assert.deepEqual(called.slice(1, 4), [
    'apply --kustomize overlays/local',
    'wait --for=condition=Complete job --selector app.kubernetes.io/name=setup --timeout=7s',
    'wait --for=condition=Complete job --selector app.kubernetes.io/name=nats-streams --timeout=7s',
  ]);
  assert.equal(called.at(-1), 'wait --for=condition=Ready pod/compute-0 --timeout=7s');
  assert.ok(!called.some((call) => call.includes('restart')));
});

test('new images restart the deployments except compute, and a message says that compute keeps its image', async () => {
  const { outcome, called, said } = await play([isThere]);
  assert.equal(outcome, 'ready');
  const restart = called.find((call) => call.startsWith('rollout restart')) ?? assert.fail('nothing is replaced');
  assert.match(restart, /deployment\/key-vault/);
  assert.ok(!restart.includes('compute'));
  assert.match(said.join(), /compute keeps its image.*delete pod compute-0/);
  assert.ok(!(await play([isThere], false)).called.some((call) => call.includes('restart')), 'images as they were');
});

test('Jobs of an earlier version are deleted before the overlay is applied: no wait may be for them', async () => {
  const { called } = await play([isThere], false);
  const [first, second, apply] = called.slice(1);
  assert.equal(first, 'delete job --selector app.kubernetes.io/name=setup --ignore-not-found');
  assert.equal(second, 'delete job --selector app.kubernetes.io/name=nats-streams --ignore-not-found');
  assert.equal(apply, 'apply --kustomize overlays/local');
});

test('if kubectl apply fails, the error says that part may be applied and how to continue or remove it', async () => {
  const err = 'Error from server (Forbidden): error when creating "overlays/local": deployments.apps is forbidden\n';
  const { outcome } = await play([{ when: 'apply', err, code: 1 }]);
  assert.match(outcome, /^LauncherError: kubectl: .*forbidden.*lacks this right in namespace interlock/);
  assert.match(
    outcome,
    /Part of overlays\/local may have been applied. To continue, run this command again. To remove everything, run kubectl --context kind-kind delete namespace interlock --wait/,
  );
});

test('if a Job fails, the error has the end of its log and the reason why each pod waits', async () => {
  const waiting = (name: string, reason: string, message: string) => ({
    metadata: { name },
    status: { containerStatuses: [{ state: { waiting: { reason, message } } }] },
  });
  const items = [
    waiting('postgres-0', 'CreateContainerConfigError', 'secret "interlock-postgres" not found'),
    { metadata: { name: 'nats-0' }, status: { containerStatuses: [{ state: { running: {} } }] } },
  ];
  const { outcome } = await play([
    { when: 'wait .*name=setup', err: 'error: timed out waiting for the condition on jobs/setup\n', code: 1 },
    { when: 'get pods', out: JSON.stringify({ items }) },
    { when: 'logs .*name=setup', out: 'HalfSetUp: Secrets that belong together are there only in part\n' },
  ]);
  assert.match(outcome, /Job setup is not ready: kubectl: error: timed out/);
  assert.match(outcome, /postgres-0: CreateContainerConfigError: secret "interlock-postgres" not found/);
  assert.match(outcome, /The end of the log of Job setup:\nHalfSetUp/);
  assert.match(outcome, /run kubectl --context kind-kind delete namespace interlock --wait/);
  assert.ok(!outcome.includes('nats-0'));
});
