import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import { type Action, experimentAction, readYaml, type Step, type Workflow, withInputs } from './workflows.ts';

const action = readYaml<Action>(experimentAction);
const folder = join(repository, '.github/workflows');
const workflows = readdirSync(folder).map((name) => `.github/workflows/${name}`);
const example = '.github/actions/experiment/example-workflow.yml';
const stepsOf = (file: string): readonly Step[] =>
  Object.values(readYaml<Workflow>(file).jobs).flatMap(({ steps }) => steps);

test('the action is composite: each input is described, each step has a shell or uses an action, expressions name inputs', () => {
  assert.equal(action.runs.using, 'composite');
  const inputs = Object.fromEntries(
    Object.entries(action.inputs).map(([name, input]) => {
      assert.ok(input.description.endsWith('.'), name);
      assert.ok(input.required === true || input.default !== undefined, name);
      return [name, input.default ?? 'given'];
    }),
  );
  for (const { uses, run, shell, env = {}, with: given = {} } of action.runs.steps) {
    assert.ok((uses === undefined) !== (run === undefined));
    if (run !== undefined) assert.equal(shell, 'bash');
    // An input in a script would be run as code; as a variable it is text.
    assert.doesNotMatch(run ?? '', /\$\{\{/);
    for (const text of [...Object.values(env), ...Object.values(given)]) withInputs(String(text), inputs);
  }
});

test('the outputs of the action come from a step that exists', () => {
  const ids = new Set(action.runs.steps.map(({ id }) => id));
  for (const { value } of Object.values(action.outputs))
    assert.ok(ids.has(/steps\.(\w+)\.outputs/.exec(value)?.[1]), value);
});

test('every workflow and the action pin what they use, limit their time and say which rights they need', () => {
  const used = [...action.runs.steps, ...[...workflows, example].flatMap(stepsOf)].flatMap(({ uses }) => uses ?? []);
  assert.ok(used.length > 5);
  for (const one of used) if (!one.startsWith('./')) assert.match(one, /@(v\d+(\.\d+\.\d+)?|[0-9a-f]{40})$/);
  for (const file of [...workflows, example]) {
    const { permissions, jobs } = readYaml<Workflow>(file);
    assert.deepEqual(permissions, { contents: 'read' }, file);
    for (const [name, job] of Object.entries(jobs)) assert.ok(job['timeout-minutes'], `${file}: ${name}`);
  }
});

test('the example workflow passes inputs that the action has', () => {
  const step = stepsOf(example).find(({ uses }) => uses?.includes('/.github/actions/experiment@'));
  assert.ok(step?.uses?.includes(experimentAction.replace('/action.yml', '')));
  assert.ok(existsSync(join(repository, experimentAction)));
  for (const name of Object.keys(step?.with ?? {})) assert.ok(name in action.inputs, name);
});
