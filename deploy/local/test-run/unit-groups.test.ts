import { deepEqual } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { groupUnits, nameOfGroup, shownFile } from './unit-groups.ts';

/** A repository with these files, and a folder for the entries of groups. */
const repositoryWith = (t: TestContext, files: Readonly<Record<string, string>>): { root: string; folder: string } => {
  const root = mkdtempSync(join(tmpdir(), 'units-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  const folder = join(root, 'groups');
  mkdirSync(folder);
  return { root, folder };
};

const unit = (name: string): string => `import { test } from 'node:test';\ntest('${name}', () => {});\n`;

test('units of one package share a process; hooks, mocks, child processes and settings of the process keep a file alone', (t) => {
  const files = {
    'e2e/kubernetes/overlays.test.ts': unit('overlays'),
    'e2e/scenarios/cloud.test.ts': unit('cloud'),
    'libs/a/src/one.test.ts': unit('one'),
    'libs/a/src/two.test.ts': unit('two'),
    'libs/b/src/other.test.ts': unit('other'),
    'services/c/src/child.test.ts': "import { execFile } from 'node:child_process';\n",
    'services/c/src/environment.test.ts': 'delete process.env.HOME;\n',
    'services/c/src/hook.test.ts': "import { after, test } from 'node:test';\n",
    'services/c/src/mocked.test.ts': 't.mock.timers.enable();\n',
    'services/c/src/plain.test.ts': unit('plain'),
    'services/c/src/service.int.test.ts': unit('service'),
  };
  const { root, folder } = repositoryWith(t, files);
  const { alone, groups } = groupUnits(Object.keys(files), root, folder);
  deepEqual(alone, [
    'e2e/scenarios/cloud.test.ts',
    'services/c/src/child.test.ts',
    'services/c/src/environment.test.ts',
    'services/c/src/hook.test.ts',
    'services/c/src/mocked.test.ts',
    'services/c/src/service.int.test.ts',
  ]);
  deepEqual(
    groups.map((group) => [nameOfGroup(group), group.files]),
    [
      ['e2e-kubernetes-1 (1 files)', ['e2e/kubernetes/overlays.test.ts']],
      ['libs-a-1 (2 files)', ['libs/a/src/one.test.ts', 'libs/a/src/two.test.ts']],
      ['libs-b-1 (1 files)', ['libs/b/src/other.test.ts']],
      ['services-c-1 (1 files)', ['services/c/src/plain.test.ts']],
    ],
  );
  deepEqual(
    [groups[1]?.entry ?? '', join(root, 'libs/b/src/other.test.ts')].map((file) => shownFile(file, groups, root)),
    ['libs-a-1 (2 files)', 'libs/b/src/other.test.ts'],
  );
});

test('the file of a group runs the tests of each of its units', (t) => {
  const files = { 'libs/a/src/one.test.ts': unit('one'), 'libs/a/src/two.test.ts': unit('two') };
  const { root, folder } = repositoryWith(t, files);
  const [group] = groupUnits(Object.keys(files), root, folder).groups;
  // Node sets this for the processes of its test files. A runner that finds it acts as one of them.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const output = execFileSync(process.execPath, ['--test', '--test-reporter=tap', group?.entry ?? ''], {
    env,
    encoding: 'utf8',
  });
  deepEqual(output.match(/(?<=^# Subtest: ).*/gm), ['one', 'two']);
});

test('many units of one package become several groups of about the same length', (t) => {
  const files = Object.fromEntries(Array.from({ length: 81 }, (_, n) => [`libs/a/src/${n}.test.ts`, unit(`${n}`)]));
  const { root, folder } = repositoryWith(t, files);
  const { groups } = groupUnits(Object.keys(files), root, folder);
  deepEqual(
    groups.map((group) => group.files.length),
    [27, 27, 27],
  );
  deepEqual(groups.flatMap((group) => group.files).toSorted(), Object.keys(files).toSorted());
});
