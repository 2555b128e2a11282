import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { testProgram } from '../../services/cli/src/session/test-session.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import { objectsIn, type WorkflowTemplate } from './render.ts';

/** Whether the command line understands a command; what it would call does not respond. */
const understands = async (args: readonly string[]): Promise<void> => {
  const { run } = testProgram({
    GetVirtualMachine: { name: 'vm1', powerState: 'RUNNING', provisioningState: 'SUCCEEDED' },
    StartVirtualMachine: { name: 'vm1', powerState: 'RUNNING', provisioningState: 'SUCCEEDED' },
  });
  await run(...args);
};

interface Step {
  readonly name: string;
  readonly provider: { readonly path: string; readonly arguments: readonly string[] };
}

describe('experiments of Chaos Mesh', () => {
  for (const file of filesLike(/^deploy\/kubernetes\/overlays\/chaos\/experiments\/.*\.yaml$/)) {
    const [workflow] = objectsIn(textOf(file));
    const templates = workflow?.spec.templates ?? [];
    const find = (name: string): WorkflowTemplate =>
      templates.find((template) => template.name === name) ?? assert.fail(`${file} has no template ${name}`);

    test(`${file}: every step exists and is used, and every command is valid`, async () => {
      const reached = new Set<string>();
      const walk = (name: string): void => {
        if (reached.has(name)) return;
        reached.add(name);
        const { children = [], conditionalBranches = [] } = find(name);
        for (const next of [...children, ...conditionalBranches.map(({ target }) => target)]) walk(next);
      };
      walk(workflow?.spec.entry ?? '');
      assert.deepEqual(
        templates.map(({ name }) => name).filter((name) => !reached.has(name)),
        [],
        'unreachable steps',
      );
      for (const { task } of templates) {
        if (task === undefined) continue;
        const [first, ...args] = task.container.args ?? [];
        assert.equal(first, 'interlock');
        await understands(args);
      }
    });

    test(`${file}: it begins with the steady state, and gives back what it takes`, () => {
      const entry = find(workflow?.spec.entry ?? '');
      assert.deepEqual(entry.task?.container.args?.slice(0, 2), ['interlock', 'probe']);
      assert.ok((entry.conditionalBranches ?? []).length > 0, 'nothing happens where it does not hold');
      const commands = templates.map(({ task }) => task?.container.args?.slice(1, 3).join(' '));
      assert.equal(commands.includes('key disable'), commands.includes('key enable'));
      const order = find('experiment').children ?? [];
      if (order.includes('revoke')) assert.ok(order.indexOf('restore') > order.indexOf('revoke'));
    });
  }
});

test('the experiment of Chaos Toolkit: commands are understood, the steady state aborts it, and rollbacks give the key back', async () => {
  const experiment = parse(textOf('deploy/kubernetes/experiments/chaos-toolkit/revoke-and-restore.yaml'));
  const method: readonly Step[] = experiment.method;
  const rollbacks: readonly Step[] = experiment.rollbacks;
  const steady: readonly Step[] = experiment['steady-state-hypothesis'].probes;
  for (const { provider } of [...steady, ...method, ...rollbacks])
    if (provider.path === 'interlock') await understands(provider.arguments);
  assert.deepEqual(experiment.runtime.rollbacks, { strategy: 'always' });
  assert.equal(experiment.runtime.hypothesis.fail_fast, true);
  assert.ok(method.some(({ provider }) => provider.arguments.join(' ') === 'key disable kv1/k1 --confirm'));
  assert.equal(rollbacks[0]?.provider.arguments.join(' '), 'key enable kv1/k1');
});

test('the Jobs beside Litmus run commands that are understood, as an account that its policies bring', async () => {
  const accounts = objectsIn(textOf('deploy/kubernetes/experiments/litmus/policies.yaml')).flatMap(
    ({ kind, metadata }) => (kind === 'ServiceAccount' ? [metadata.name] : []),
  );
  for (const name of ['revoke', 'restore']) {
    const [job] = objectsIn(textOf(`deploy/kubernetes/experiments/litmus/${name}.yaml`));
    const [first, ...args] = job?.spec.template.spec.containers[0]?.args ?? [];
    assert.equal(first, 'interlock');
    await understands(args);
    assert.deepEqual([job?.spec.template.spec.serviceAccountName], accounts);
  }
});
