import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';
import { analyse } from 'scslre';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Sources that run in a process of the cloud, so what they read may come from a caller; the others are tools of one user. */
const sources = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'services', 'libs'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter(
    (file) =>
      file.endsWith('.ts') &&
      !/\.test\.ts$|\/test-[^/]*\.ts$|^(services\/cli|libs\/(experiment|dataset|pack))\//.test(file),
  );

interface Found {
  readonly file: string;
  readonly source: string;
  readonly flags: string;
}

type Node = Readonly<Record<string, unknown>>;

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null;

/** Expressions of a file: literals, and `pattern` of JSON schemas. `made` counts those that are made of other texts. */
const expressionsIn = (file: string): { readonly found: readonly Found[]; readonly made: number } => {
  const found: Found[] = [];
  let made = 0;
  const walk = (node: unknown): void => {
    if (!isNode(node)) return;
    const {
      regex,
      type,
      callee,
      arguments: given,
      key,
      value,
    } = node as Readonly<Record<string, Node | undefined>> & Readonly<{ type: unknown }>;
    if (regex !== undefined && isNode(regex))
      found.push({ file, source: String(regex.pattern), flags: String(regex.flags) });
    if (type === 'NewExpression' && callee?.name === 'RegExp') {
      const [first] = given as unknown as readonly Node[];
      if (typeof first?.value === 'string') found.push({ file, source: first.value, flags: '' });
      else made += 1;
    }
    if (type === 'Property' && key?.name === 'pattern' && typeof value?.value === 'string')
      found.push({ file, source: value.value, flags: 'u' });
    for (const inner of Object.values(node)) walk(inner);
  };
  walk(parseSync(file, readFileSync(join(root, file), 'utf8')).program);
  return { found, made };
};

/** Why an expression may need more than a linear time; none for one that does not. */
const problemsOf = ({ file, source, flags }: Found): readonly string[] =>
  analyse({ source, flags: flags.replace('v', 'u') }).reports.map(
    ({ type, exponential }) => `${file}: /${source}/${flags} ${type}${exponential ? ', exponential' : ''}`,
  );

test('no expression of a process of the cloud backtracks more than linearly: a short text would stop it for minutes', () => {
  const all = sources.map(expressionsIn);
  assert.ok(all.flatMap(({ found }) => found).length > 100);
  assert.deepEqual(all.flatMap(({ found }) => found).flatMap(problemsOf), []);
});

test('the check finds the expressions that stopped a gateway', () => {
  for (const source of [String.raw`\s+and\s+`, String.raw`\/+$`, String.raw`^(\w+\s*)+$`])
    assert.notDeepEqual(problemsOf({ file: 'x', source, flags: '' }), [], source);
});

test('the gateway makes no expression of other texts, which this check could not read', () => {
  const making = sources.filter((file) => file.startsWith('services/gateway/') && expressionsIn(file).made > 0);
  assert.deepEqual(making, []);
});
