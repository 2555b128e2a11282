import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Functions fit a screen, 60 lines; more than this is a defect. */
const LINES_MAX = 100;

/** Sources that git tracks or would add, except for generated ones. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.mjs'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && !file.includes('/generated/') && existsSync(join(root, file)));

type Node = Readonly<Record<string, unknown>> & {
  readonly type: string;
  readonly start: number;
  readonly end: number;
};

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Partial<Node>).type === 'string';

const childrenOf = (node: Node): readonly Node[] => Object.values(node).flat().filter(isNode);

const isFunction = ({ type }: Node): boolean =>
  ['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'].includes(type);

/** Functions that are tests, or only hold tests: arguments of `test(…)`, `describe(…)` and their like. */
const testsOf = (node: Node): readonly Node[] => {
  if (node.type !== 'CallExpression') return [];
  let callee = node.callee as Node;
  while (callee.type === 'MemberExpression') callee = callee.object as Node;
  const isTest = ['test', 'describe', 'suite', 'it'].includes(String(callee.name));
  return isTest ? (node.arguments as readonly Node[]).filter(isFunction) : [];
};

/** The outermost tests below a node. */
const testsIn = (node: Node): readonly Node[] =>
  childrenOf(node).flatMap((child) => {
    const tests = testsOf(child);
    return tests.length > 0 ? tests : testsIn(child);
  });

/**
 * `<file>:<line> has <n> lines` for every function of a source with too many lines. In a test file the lines of tests do not count:
 * a suite may have many of them. In test support they do: a contract of many tests is several suites, each named for its subject.
 */
const tooLong = (file: string, text: string): readonly string[] => {
  const found: string[] = [];
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const linesOf = ({ start, end }: Node): number => text.slice(start, end).split('\n').length;
  const visit = (node: Node): void => {
    if (isFunction(node) && linesOf(node) > LINES_MAX) {
      const exempt = file.endsWith('.test.ts') ? testsIn(node) : [];
      const lines = exempt.reduce((left, each) => left - linesOf(each), linesOf(node));
      if (lines > LINES_MAX) found.push(`${file}:${lineOf(node.start)} has ${lines} lines`);
    }
    for (const child of childrenOf(node)) visit(child);
  };
  visit(parseSync(file, text).program as unknown as Node);
  return found;
};

test('no function has more than 100 lines, in the support of tests neither', () => {
  assert.ok(files.length > 1_000);
  assert.deepEqual(
    files.flatMap((file) => tooLong(file, readFileSync(join(root, file), 'utf8'))),
    [],
  );
});

const lines = (count: number): string => 'work();\n'.repeat(count);

test('the check finds functions of every form that are too long', () => {
  const body = `{\n${lines(99)}}`;
  const found = [
    `function work() ${body}`,
    `const work = () => ${body};`,
    `class Work { do() ${body} }`,
    `test('x', () => ${body});`,
  ];
  for (const source of found) assert.deepEqual(tooLong('x.ts', source), ['x.ts:1 has 101 lines'], source);
  assert.deepEqual(tooLong('x.ts', `function work() {\n${lines(98)}}`), []);
});

const tests = `test('x', () => {\n${lines(60)}});\n`.repeat(3);

test('in a test file the check does not count the tests in a function, but what is beside them', () => {
  assert.deepEqual(tooLong('x.test.ts', `describe('x', () => {\n${tests}});`), []);
  assert.deepEqual(tooLong('x.test.ts', `const contract = () => describe.only('x', () => {\n${tests}});`), []);
  const found = tooLong('x.test.ts', `describe('x', () => {\nconst help = () => {\n${lines(101)}};\n${tests}});`);
  assert.deepEqual(found, ['x.test.ts:1 has 105 lines', 'x.test.ts:2 has 103 lines']);
});

test('in the support of tests the check counts the tests of a contract', () => {
  const contract = `const contract = () =>\ndescribe('x', () => {\n${tests}});`;
  assert.deepEqual(tooLong('test-contract.ts', contract), [
    'test-contract.ts:1 has 189 lines',
    'test-contract.ts:2 has 188 lines',
  ]);
});
