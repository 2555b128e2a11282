import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Experiment,
  type ExportTool,
  exportExperiment,
  exportTools,
  readEstate,
  readExperiment,
  takesAccess,
} from '@interlock/lab';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import { testProgram } from '../../services/cli/src/session/test-session.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import chaosToolkit from './chaos-toolkit.schema.json' with { type: 'json' };
import { podProblems } from './pod-rules.ts';
import { restrictedProblems } from './pod-security.ts';
import { objectsIn, type WorkflowTemplate } from './render.ts';
import { problemsOf } from './schemas.ts';

/** Rejects if the command line does not accept a command. Its calls get prepared responses. */
const understands = async (args: readonly string[]): Promise<void> => {
  const machine = { name: 'vm1', powerState: 'RUNNING', provisioningState: 'SUCCEEDED' };
  const principal = 'principals/00000000-0000-4000-8000-000000000002';
  const role = {
    name: 'roleAssignments/00000000-0000-4000-8000-000000000003',
    principal,
    role: 'roles/keyVaultCryptoServiceEncryptionUser',
    scope: '/',
  };
  const { run } = testProgram({
    GetVirtualMachine: machine,
    StartVirtualMachine: machine,
    GetDiskEncryptionSet: { identity: { principal } },
    ListRoleAssignments: { roleAssignments: [role] },
    GetVault: { name: 'vaults/kv-k1', accessPolicies: [] },
  });
  await run(...args);
};

const files = filesLike(/^e2e\/experiments\/files\/.*\.experiment\.yaml$/);
/** Manifests have one process of disk, so no tool can name a disk host. */
const withHosts = files.filter((file) => /^ {2}(disk|vm)Hosts:/m.test(textOf(file)));
const shipped = files.filter((file) => !withHosts.includes(file));

const experimentIn = (file: string): Experiment => {
  const read = readExperiment(textOf(file));
  assert.ok('experiment' in read);
  return read.experiment;
};

/** Whether a step takes a key away. The other steps are faults only. */
const takesKeys = (file: string): boolean => experimentIn(file).timeline.some(({ action }) => takesAccess(action));

const exportOf = (file: string, tool: ExportTool) =>
  exportExperiment(experimentIn(file), { tool, name: 'pack', image: 'tools:1', group: 'demo' });

/** The files of an experiment in the format of a tool. */
const exported = (file: string, tool: ExportTool): ReadonlyMap<string, string> => {
  const made = exportOf(file, tool);
  return 'files' in made ? made.files : assert.fail(JSON.stringify(made.problems));
};

const packOf = (file: string, tool: ExportTool): string =>
  exported(file, tool).get(`pack.${tool}.yaml`) ?? assert.fail(`no pack of ${file}`);

test('an experiment with disk hosts of its own cannot be exported, and the error says why', () => {
  assert.ok(withHosts.length >= 2);
  for (const file of withHosts)
    for (const tool of exportTools) {
      const made = exportOf(file, tool);
      assert.ok('problems' in made);
      assert.match(made.problems.map(({ message }) => message).join(), /(disk|vm)-host/);
    }
});

test('every experiment of the repository can be exported to every tool, with a valid estate', () => {
  assert.ok(shipped.length >= 9);
  for (const file of shipped)
    for (const tool of exportTools) {
      const estate = exported(file, tool).get('estate.yaml') ?? assert.fail(file);
      const read = readEstate(estate);
      assert.ok('estate' in read, JSON.stringify(read));
    }
});

describe('experiments of Chaos Mesh', () => {
  for (const file of shipped) {
    test(`${file}: an API server accepts it, every step exists and is reachable, and every command is valid`, async () => {
      const [workflow] = objectsIn(packOf(file, 'chaos-mesh'));
      assert.ok(workflow);
      assert.deepEqual(await problemsOf(workflow), []);
      const templates = workflow.spec.templates ?? [];
      const find = (name: string): WorkflowTemplate =>
        templates.find((template) => template.name === name) ?? assert.fail(`no template ${name}`);
      const reached = new Set<string>();
      const walk = (name: string): void => {
        if (reached.has(name)) return;
        reached.add(name);
        const { children = [], conditionalBranches = [] } = find(name);
        for (const next of [...children, ...conditionalBranches.map(({ target }) => target)]) walk(next);
      };
      const entry = find(workflow.spec.entry ?? '');
      walk(entry.name);
      assert.deepEqual(
        templates.map(({ name }) => name).filter((name) => !reached.has(name)),
        [],
        'unreachable steps',
      );
      assert.deepEqual(entry.task?.container.args?.slice(0, 2), ['interlock', 'probe']);
      assert.ok(
        (entry.conditionalBranches ?? []).length > 0,
        'there is a branch for a steady state that does not hold',
      );
      for (const { task } of templates) {
        if (task === undefined) continue;
        const [first, ...args] = task.container.args ?? [];
        assert.equal(first, 'interlock');
        await understands(args);
      }
    });
  }
});

describe('experiments of Chaos Toolkit', () => {
  const check = new Ajv({ allErrors: true }).compile(chaosToolkit);
  for (const file of shipped) {
    test(`${file}: commands are valid, the steady state aborts it, and rollbacks restore access`, async () => {
      const pack = parse(packOf(file, 'chaos-toolkit'));
      check(pack);
      assert.deepEqual(check.errors, null);
      const all = [...pack['steady-state-hypothesis'].probes, ...pack.method, ...pack.rollbacks];
      for (const { type, name, provider, tolerance } of all) {
        assert.ok(name !== '' && (type === 'action' || tolerance === 0));
        assert.equal(provider.type, 'process');
        if (provider.path === 'interlock') await understands(provider.arguments);
        else assert.equal(provider.path, 'kubectl');
      }
      assert.deepEqual(pack.runtime.rollbacks, { strategy: 'always' });
      assert.equal(pack.runtime.hypothesis.fail_fast, true);
      const commands = pack.rollbacks.map(({ provider }: { provider: { arguments: string[] } }) =>
        provider.arguments.slice(0, 2).join(' '),
      );
      if (!takesKeys(file)) return;
      assert.ok(/^(key enable|role assign)$/.test(commands[0]), commands[0]);
      assert.ok(commands.includes('vm start'));
    });
  }
});

describe('experiments of LitmusChaos', () => {
  const accounts = objectsIn(textOf('deploy/kubernetes/experiments/litmus/policies.yaml')).flatMap(
    ({ kind, metadata }) => (kind === 'ServiceAccount' ? [metadata.name] : []),
  );
  for (const file of shipped) {
    test(`${file}: an API server accepts it, and its Jobs run valid commands with the account of the policies`, async () => {
      const objects = objectsIn(packOf(file, 'litmus'));
      // Commands take keys away and restore them. Faults are objects of the tool.
      assert.equal(
        objects.some(({ kind }) => kind === 'Job'),
        takesKeys(file),
      );
      for (const object of objects) {
        assert.deepEqual(await problemsOf(object), []);
        if (object.kind !== 'Job') continue;
        const { spec } = object.spec.template;
        assert.deepEqual([...podProblems(object), ...restrictedProblems(spec)], []);
        const [first, ...args] = spec.containers[0]?.args ?? [];
        assert.equal(first, 'interlock');
        await understands(args);
        assert.deepEqual([spec.serviceAccountName], accounts);
      }
    });
  }
});

test('names of steps that are in capitals, alike, or those of a tool make valid objects with names of their own', async () => {
  const names = ['Loss', 'loss', 'timeline', 'experiment', 'settle', 'check-1', 'at-loss'];
  const faults = names.slice(2).map((name, n) => `  - { at: ${n + 2}s, kill: nats, as: ${name}, for: 1s }`);
  const read = readExperiment(`title: names
estate: { premium: { machines: 1, disks: [premium-ssd], key: k1 }, other: { machines: 1, disks: [premium-ssd], key: k2 } }
timeline:
  - { at: 1s, disable-key: premium, as: Loss }
  - { at: 1s, disable-key: other, as: loss }
${faults.join('\n')}
  - { at: 20s, kill: disk, as: Kill, for: 1s }
  - { at: 22s, kill: disk, as: kill, for: 1s }
  - { at: 30s, give-back: Loss, start: true }
  - { at: 30s, give-back: loss, start: true }
expect: [premium.stopped <= Loss + 5s, bytesLost == 0]
`);
  assert.ok('experiment' in read, JSON.stringify(read));
  for (const tool of ['chaos-mesh', 'litmus'] as const) {
    const made = exportExperiment(read.experiment, { tool, name: 'pack', image: 'tools:1', group: 'demo' });
    const objects = objectsIn(('files' in made && made.files.get(`pack.${tool}.yaml`)) || assert.fail());
    for (const object of objects) assert.deepEqual(await problemsOf(object), []);
    const taken = objects.flatMap(({ metadata, spec }) => [
      ...(metadata.name === undefined ? [] : [metadata.name]),
      ...(spec.templates ?? []).map(({ name }: { readonly name: string }) => name),
    ]);
    assert.ok(taken.length >= names.length, tool);
    assert.equal(new Set(taken).size, taken.length, taken.join());
  }
});

test('refuses to export a key loss for which the command line has no command, and names its line', () => {
  const text = textOf('e2e/experiments/files/no-events.experiment.yaml').replace('disable-key', 'delete-identity');
  const read = readExperiment(text);
  assert.ok('experiment' in read);
  const made = exportExperiment(read.experiment, { tool: 'litmus', name: 'x', image: 'i', group: 'g' });
  assert.ok('problems' in made);
  assert.match(made.problems[0]?.message ?? '', /loss: no command line does delete-identity to premium/);
  assert.equal(made.problems[0]?.line, 11);
});
