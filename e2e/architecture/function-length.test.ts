import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Functions fit a screen, 60 lines; more than this is a defect. */
const functionLinesMax = 100;

/** Classes fit a file, 400 lines, with what they need around them. */
const classLinesMax = 300;

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

const isClass = ({ type }: Node): boolean => type === 'ClassDeclaration' || type === 'ClassExpression';

/** `<file>:<line> has <n> lines` for every function and class of a source with too many lines. Tests and suites are functions too. */
const tooLong = (file: string, text: string): readonly string[] => {
  const found: string[] = [];
  const linesOf = (from: number, to: number): number => text.slice(from, to).split('\n').length;
  const visit = (node: Node): void => {
    const linesMax = isFunction(node) ? functionLinesMax : isClass(node) ? classLinesMax : Number.POSITIVE_INFINITY;
    const lines = linesOf(node.start, node.end);
    if (lines > linesMax) found.push(`${file}:${linesOf(0, node.start)} has ${lines} lines`);
    for (const child of childrenOf(node)) visit(child);
  };
  visit(parseSync(file, text).program as unknown as Node);
  return found;
};

test('no function has more than 100 lines, and no class more than 300, also in tests', () => {
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

test('the check finds suites and classes that are too long', () => {
  const tests = `test('x', () => {\n${lines(60)}});\n`;
  assert.deepEqual(tooLong('x.test.ts', `describe('x', () => {\n${tests.repeat(2)}});`), ['x.test.ts:1 has 126 lines']);
  assert.deepEqual(tooLong('x.test.ts', `describe('x', () => {\n${tests}});`), []);
  const field = 'a = 1;\n';
  assert.deepEqual(tooLong('x.ts', `class Work {\n${field.repeat(299)}}`), ['x.ts:1 has 301 lines']);
  assert.deepEqual(tooLong('x.ts', `class Work {\n${field.repeat(298)}}`), []);
});
