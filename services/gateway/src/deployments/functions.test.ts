import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestError } from '../errors/rest-error.ts';
import { testWork } from '../text/test-work.ts';
import { type ExpressionScope, evaluate } from './expressions.ts';
import { templateFunctions } from './functions.ts';
import { templateLimits } from './template.ts';

const place = { subscription: 's', tenant: 't', group: 'g', location: 'westeurope', deployment: 'd1' };
const invalid = { status: 400, code: 'InvalidTemplate' };

/** Evaluates an expression over variables. @returns its value, or the refusal, and the steps */
const run = async (text: string, variables: Readonly<Record<string, unknown>> = {}) => {
  const work = testWork(templateLimits);
  const scope: ExpressionScope = {
    ...place,
    work,
    parameter: async (name) => variables[name],
    variable: async (name) => variables[name],
  };
  const value = await evaluate(text, scope).catch((error: unknown) => error);
  return { value, steps: work.steps };
};

test('arguments that a function cannot take are refused with InvalidTemplate, and never fail', async () => {
  const half = '\ud800';
  const variables = {
    half,
    nul: '\u0000',
    o: { toString: 1, valueOf: 2 },
    a: [{ toString: 1 }],
    big: 'x'.repeat(500_000),
  };
  const refused = [
    "uri('x','y')",
    "uri('https://a b','y')",
    "uriComponent(variables('half'))",
    'div(1,0)',
    'mod(1,0)',
    'mul(9007199254740991,2)',
    'add(9007199254740991,1)',
    'sub(-9007199254740991,1)',
    `add(${'9'.repeat(400)},1)`,
    "int('1e400')",
    "int('')",
    "int('1.5')",
    "guid(variables('o'))",
    "uniqueString(variables('a'))",
    "int(variables('o'))",
    "bool(variables('o'))",
    "format('{0}')",
    "padLeft('a',1001)",
    "padLeft('a',9007199254740991,'b')",
    "padLeft('a',5,'')",
    "padLeft(variables('o'),5)",
    "substring('abc',0,4)",
    "substring('abc',-1)",
    "substring('abc',2,-1)",
    "join(variables('a'),',')",
    "replace('abc','','x')",
    "split('abc','')",
    "split('abc',createArray(variables('o')))",
    "createObject('a')",
    "createObject(variables('o'),1)",
    "contains('abc',variables('o'))",
    "json('{')",
    "json(concat(replace(variables('big'),'x','['),replace(variables('big'),'x',']')))",
    "length(variables('o')[variables('o')])",
    "variables('a').length",
    "base64(variables('o'))",
    "replicate('a',1000000)",
    'range(0,1000000)',
  ];
  for (const text of refused) {
    const { value } = await run(`[${text}]`, variables);
    assert.ok(value instanceof RestError, `${text}: ${String(value)}`);
    assert.deepEqual({ status: value.status, code: value.code }, invalid, text);
    assert.ok(value.message.length < 1_200, text);
  }
});

test('large results are refused before they are made', async () => {
  const variables = { big: 'x'.repeat(900_000), parts: Array.from({ length: 20_000 }, () => 'x') };
  const refused = [
    `concat(${Array(400).fill("variables('big')").join(',')})`,
    "replace(variables('big'),'x',variables('big'))",
    "format(replace(variables('big'),'x','{0}'),variables('big'))",
    "join(variables('parts'),variables('big'))",
    "split(variables('big'),'x')",
    `createArray(${Array(100).fill("variables('parts')").join(',')})`,
  ];
  for (const text of refused) {
    const before = process.memoryUsage().heapUsed;
    const { value } = await run(`[${text}]`, variables);
    assert.ok(value instanceof RestError, `${text}: ${String(value).slice(0, 100)}`);
    // 360 MB to 800 GB, if they were made.
    assert.ok(process.memoryUsage().heapUsed - before < 300_000_000, text);
  }
});

/** Calls with the worst arguments of a size, by function. Those that are not here look at one number or none. */
const worst: Readonly<Record<string, (n: number) => readonly [string, Readonly<Record<string, unknown>>]>> = {
  base64: (n) => ["base64(variables('t'))", { t: 'x'.repeat(n) }],
  concat: (n) => ["concat(variables('t'),variables('t'))", { t: 'x'.repeat(n) }],
  contains: (n) => ["contains(variables('a'),variables('o'))", { a: alike(n), o: { a: 1, b: 'y' } }],
  createarray: (n) => ["createArray(variables('a'))", { a: alike(n) }],
  createobject: (n) => ["createObject('a',variables('a'))", { a: alike(n) }],
  empty: (n) => ["empty(variables('a'))", { a: alike(n) }],
  endswith: (n) => ["endsWith(variables('t'),variables('t'))", { t: 'x'.repeat(n) }],
  equals: (n) => ["equals(variables('a'),variables('a'))", { a: alike(n) }],
  first: (n) => ["first(variables('a'))", { a: alike(n) }],
  format: (n) => ["format(variables('t'),'a')", { t: '{0'.repeat(n / 2) }],
  guid: (n) => ["guid(variables('t'))", { t: 'x'.repeat(n) }],
  indexof: (n) => ["indexOf(variables('t'),variables('p'))", { t: 'x'.repeat(n), p: almost(n / 2) }],
  int: (n) => ["int(variables('t'))", { t: '1'.repeat(n) }],
  join: (n) => ["join(variables('a'),', ')", { a: Array.from({ length: n / 20 }, (_, at) => at) }],
  json: (n) => ["json(variables('t'))", { t: `[${'[],'.repeat(n / 20)}1]` }],
  last: (n) => ["last(variables('a'))", { a: alike(n) }],
  length: (n) => ["length(variables('a'))", { a: alike(n) }],
  padleft: (n) => ["padLeft(variables('t'),1000)", { t: 'x'.repeat(n) }],
  replace: (n) => ["replace(variables('t'),variables('p'),'y')", { t: 'x'.repeat(n), p: almost(n / 2) }],
  resourceid: (n) => ["resourceId(variables('t'),'a')", { t: `${'a.'.repeat(n / 2)}-` }],
  skip: (n) => ["skip(variables('a'),1)", { a: alike(n) }],
  split: (n) => ["split(variables('t'),variables('p'))", { t: 'x'.repeat(n), p: almost(n / 2) }],
  startswith: (n) => ["startsWith(variables('t'),variables('t'))", { t: 'x'.repeat(n) }],
  string: (n) => ["string(variables('a'))", { a: alike(n) }],
  substring: (n) => ["substring(variables('t'),1)", { t: 'x'.repeat(n) }],
  take: (n) => ["take(variables('a'),1000000)", { a: alike(n) }],
  tolower: (n) => ["toLower(variables('t'))", { t: 'İ'.repeat(n) }],
  toupper: (n) => ["toUpper(variables('t'))", { t: 'ß'.repeat(n) }],
  trim: (n) => ["trim(variables('t'))", { t: `x${' '.repeat(n)}x` }],
  union: (n) => ["union(variables('a'),variables('a'))", { a: Array.from({ length: n / 20 }, (_, at) => at) }],
  uniquestring: (n) => ["uniqueString(variables('t'))", { t: 'x'.repeat(n) }],
  uri: (n) => ["uri('https://a',variables('t'))", { t: '../'.repeat(n / 3) }],
  uricomponent: (n) => ["uriComponent(variables('t'))", { t: 'ä'.repeat(n) }],
};

const ofNumbers = 'add and bool coalesce div false greater if less mod mul not null or sub true'.split(' ');

const alike = (n: number): readonly unknown[] => Array.from({ length: n / 60 }, () => ({ b: 'x', a: 1 }));
const almost = (n: number): string => `${'x'.repeat(n / 2)}y${'x'.repeat(n / 2)}`;

test('every function computes in linear time, so that the size of its arguments bounds its work', async () => {
  assert.deepEqual(
    Object.keys(templateFunctions).filter((name) => !(name in worst) && !ofNumbers.includes(name)),
    [],
  );
  for (const [name, callOf] of Object.entries(worst)) {
    const [small, large] = [await fastest(callOf(25_000)), await fastest(callOf(400_000))];
    // 16 times the size: linear is 16, quadratic 256, which takes seconds at this size.
    assert.ok(
      large < 100 * Math.max(small, precisionMs),
      `${name}: ${small} ms, then ${large} ms for 16 times the size`,
    );
  }
});

/** Processor time is counted in ticks of the system, of up to 10 ms. */
const precisionMs = 10;

/**
 * The least processor time of several runs, in milliseconds: other work of the machine does not add to it. Steps cannot be counted
 * where a function of the language does the work, and that is where a quadratic one would hide.
 */
const fastest = async ([text, variables]: readonly [string, Readonly<Record<string, unknown>>]): Promise<number> => {
  const times: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const since = process.threadCpuUsage();
    const { value } = await run(`[${text}]`, variables);
    times.push(process.threadCpuUsage(since).user / 1_000);
    assert.ok(!(value instanceof Error) || value instanceof RestError, `${text}: ${String(value)}`);
  }
  return Math.min(...times);
};
