import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { test } from 'node:test';
import { clusterControl } from './cluster-control.ts';
import { openKubectl } from './kubectl.ts';
import { type Answer, testKubectl } from './test-kubectl.ts';

/** Runs work with a kubectl that gives these answers. @returns the arguments of its calls, in order */
const callsOf = async (
  answers: readonly Answer[],
  work: (control: ReturnType<typeof clusterControl>) => Promise<unknown>,
): Promise<readonly string[]> => {
  const { folder, calls } = testKubectl(answers);
  const kubectl = openKubectl({ context: undefined, namespace: 'n' }, { ...process.env, PATH: folder });
  try {
    await work(clusterControl(kubectl));
    const lines = readFileSync(calls, 'utf8').trim().split('\n');
    return lines
      .map((line) => JSON.parse(line).args.replace('--namespace n ', ''))
      .filter((args) => !args.startsWith('get '));
  } finally {
    kubectl.end();
    rmSync(folder, { recursive: true });
  }
};

const workload = (replicas: number, kept?: number): Answer => ({
  when: 'get deployments,statefulsets',
  out: JSON.stringify({
    items: [
      {
        kind: 'StatefulSet',
        metadata: {
          name: 'disk',
          ...(kept === undefined ? {} : { annotations: { 'interlock.experiment/replicas': String(kept) } }),
        },
        spec: { replicas },
      },
    ],
  }),
});
const pods: Answer = {
  when: 'get pods',
  out: JSON.stringify({ items: [{ metadata: { name: 'disk-0' }, status: { phase: 'Running' } }] }),
};
const done: Answer = { when: '.', out: '' };

test('kill scales a part to 0 and records its replicas; restart restores them, from another process too', async () => {
  const killed = await callsOf([workload(2), pods, done], (control) => control.kill('disk'));
  assert.deepEqual(killed, [
    'annotate statefulset/disk interlock.experiment/replicas=2 --overwrite',
    'scale statefulset/disk --replicas=0',
    'delete pods --selector app.kubernetes.io/name=disk --force --grace-period=0 --timeout=60s',
  ]);
  const restarted = await callsOf([workload(0, 2), pods, done], (control) => control.restart('disk'));
  assert.deepEqual(restarted, [
    'scale statefulset/disk --replicas=2',
    'rollout status statefulset/disk --timeout=180s',
  ]);
});

test('pause stops the process of each pod and marks the pod; it fails if that process has id 1', async () => {
  const paused = await callsOf([pods, done], (control) => control.pause('disk'));
  assert.match(paused[0] ?? '', /^exec disk-0 -- \/usr\/local\/bin\/node -e /);
  assert.equal(paused[1], 'annotate pod disk-0 interlock.experiment/paused=true --overwrite');
  const first: Answer = { when: 'exec ', code: 3, err: 'command terminated with exit code 3' };
  await assert.rejects(
    callsOf([pods, first, done], (control) => control.pause('disk')),
    /pod disk-0 cannot be stopped: its pod must share its process namespace/,
  );
});

test('a part has the state of its pods, and is down without replicas', async () => {
  const down = workload(0);
  await callsOf([down, { when: 'get pods', out: '{"items":[]}' }], async (control) => {
    assert.ok((await control.processes()).every(({ state }) => state === 'down'));
  });
  await callsOf([workload(1), pods], async (control) => {
    assert.ok((await control.processes()).every(({ name, state }) => name === 'disk-0' && state === 'running'));
  });
});
