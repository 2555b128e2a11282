import { deepEqual, equal, match, throws } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readRequest, selectTests } from './selection.ts';

const files = {
  'services/a/src/decider.ts': `import type { Wire } from './wire.ts'; export const decide = 1;`,
  'services/a/src/wire.ts': 'export interface Wire {}',
  'services/a/src/decider.test.ts': `import { decide } from './decider.ts';`,
  'services/a/src/api.ts': `export { decide } from './decider.ts';`,
  'services/a/src/api.test.ts': `import './api.ts';`,
  'services/a/src/worker.test.ts': `export const entry = new URL('./worker.ts', import.meta.url);`,
  'services/a/src/worker.ts': '',
  'libs/b/src/test-database.ts': 'export const url = process.env.DATABASE_URL;',
  'libs/b/src/store.int.test.ts': `import { url } from './test-database.ts';`,
  'libs/b/src/path.test.ts': 'const path = process.env.PATH;',
  'libs/b/src/run.ts': `/** Normally \`process.env\`. */\n// process.env\n/**\n * process.env\n */\nexport {};`,
  'libs/b/src/run.test.ts': `import './run.ts';`,
  'services/a/src/assemble.ts': `import './decider.ts';`,
  'services/a/src/service.test.ts': `import './assemble.ts';`,
  'libs/b/src/clock.ts': '',
  'e2e/c/cloud.test.ts': `import '../../services/a/src/assemble.ts'; import '../../libs/b/src/clock.ts';`,
  'e2e/c/page.test.ts': `import '../../services/a/src/decider.ts';`,
  'e2e/c/every-way.long.test.ts': `import '../../services/a/src/decider.ts';`,
};
const standard = Object.keys(files).filter((file) => file.endsWith('.test.ts') && !file.includes('.long.'));

test('selects all but long files; --all selects every file, and a glob also a long one', (t) => {
  const root = repositoryOf(t);
  deepEqual(select(root), standard.toSorted());
  deepEqual(select(root, '--all').length, standard.length + 1);
  deepEqual(select(root, 'e2e/**/*.long.test.ts'), ['e2e/c/every-way.long.test.ts']);
  throws(() => select(root, 'no/such.test.ts'), /No test file matches no\/such\.test\.ts/);
  throws(() => readRequest(['--all', 'some.test.ts']), /either files or one of --changed and --all/);
});

test('--changed selects the tests that load a changed file, directly or not, and names what it compared with', (t) => {
  const root = repositoryOf(t);
  const inA = ['services/a/src/api.test.ts', 'services/a/src/decider.test.ts', 'services/a/src/service.test.ts'];
  const ofDecider = ['e2e/c/page.test.ts', ...inA];
  deepEqual(select(root, '--changed'), []);
  write(root, 'services/a/src/decider.ts', 'export const decide = 2;');
  deepEqual(select(root, '--changed'), ofDecider);
  git(root, 'checkout', '-q', '-b', 'work');
  git(root, 'commit', '-qam', 'change');
  deepEqual(select(root, '--changed'), ofDecider);
  write(root, 'services/a/src/worker.ts', 'export {};');
  write(root, 'libs/b/src/new.test.ts', '');
  const { files: found, description = '' } = selectTests(readRequest(['--changed']), root, root);
  deepEqual(found, ['e2e/c/page.test.ts', 'libs/b/src/new.test.ts', ...inA, 'services/a/src/worker.test.ts']);
  match(description, /^3 files changed since main \([0-9a-f]{8}\): 6 test files load one of them\.$/);
});

test('a change in services selects no test of e2e that assembles services; a change elsewhere does', (t) => {
  const root = repositoryOf(t);
  write(root, 'services/a/src/assemble.ts', `import './api.ts';`);
  deepEqual(select(root, '--changed'), ['services/a/src/service.test.ts']);
  write(root, 'libs/b/src/clock.ts', 'export {};');
  deepEqual(select(root, '--changed'), ['e2e/c/cloud.test.ts', 'services/a/src/service.test.ts']);
});

test('a file that only types come from changes no test', (t) => {
  const root = repositoryOf(t);
  write(root, 'services/a/src/wire.ts', 'export interface Wire { readonly more: 1 }');
  deepEqual(select(root, '--changed'), []);
});

test('servers are needed if a selected file loads code that reads their addresses', (t) => {
  const root = repositoryOf(t);
  const needs = (glob: string): boolean => selectTests(readRequest([glob]), root, root).needsServers;
  equal(needs('libs/b/src/store.int.test.ts'), true);
  equal(needs('services/a/src/*.test.ts'), false);
  equal(needs('libs/b/src/path.test.ts'), false);
  equal(needs('libs/b/src/run.test.ts'), false);
});

test('bundles of services are needed if a selected file loads what starts them', (t) => {
  const root = repositoryOf(t);
  write(root, 'deploy/local/processes.ts', 'export {};');
  write(root, 'libs/b/src/cloud.test.ts', `import '../../../deploy/local/processes.ts';`);
  const starts = (glob: string): boolean => selectTests(readRequest([glob]), root, root).startsServices;
  equal(starts('libs/b/src/cloud.test.ts'), true);
  equal(starts('services/a/src/*.test.ts'), false);
});

test('outside of a repository --changed says why it finds nothing', (t) => {
  const root = repositoryOf(t);
  rmSync(join(root, '.git'), { recursive: true });
  throws(() => select(root, '--changed'), /What changed since main cannot be found: .*not a git repository/s);
});

const select = (root: string, ...args: readonly string[]): readonly string[] =>
  selectTests(readRequest(args), root, root).files;

const repositoryOf = (t: TestContext): string => {
  const root = mkdtempSync(join(tmpdir(), 'selection-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [file, text] of Object.entries(files)) write(root, file, text);
  git(root, 'init', '-q', '-b', 'main');
  git(root, 'add', '.');
  git(root, 'commit', '-qm', 'start');
  return root;
};

const write = (root: string, file: string, text: string): void => {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), text);
};

const git = (root: string, ...args: readonly string[]): void => {
  const identity = ['-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'commit.gpgsign=false'];
  execFileSync('git', [...identity, ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, GIT_CEILING_DIRECTORIES: tmpdir(), GIT_CONFIG_GLOBAL: '/dev/null' },
  });
};
