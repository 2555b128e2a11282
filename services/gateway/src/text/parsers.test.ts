import assert from 'node:assert/strict';
import { test } from 'node:test';
import { masterKey } from '@interlock/sealing';
import { eventQueryOf } from '../activity/query.ts';
import { innerKeyUrl, vaultInHost } from '../cloud/names.ts';
import { innerNameOfId, textForClients } from '../cloud/resource-names.ts';
import { testNames } from '../cloud/test-names.ts';
import { evaluate, expressionLengthMax } from '../deployments/expressions.ts';
import { openAccessUrls } from '../disk-access/access-url.ts';
import { rangeOf } from '../disk-access/range.ts';
import { directoryFilterOf } from '../graph/filter.ts';
import { asciiHeaders } from '../http/ascii-headers.ts';
import { readJson } from '../http/json.ts';
import { pageOf } from '../http/paging.ts';
import { routerTarget } from '../http/target.ts';
import { filterOf } from '../resources/filter.ts';
import { graphQueryOf, queryLengthMax } from '../resources/graph-query.ts';
import { roleFilterOf } from '../roles/filter.ts';
import { sourceVaultOf } from '../sets/set-body.ts';
import { filterLengthMax } from './odata.ts';
import { type Lexicon, Scanner } from './scanner.ts';
import { testWork } from './test-work.ts';

const lexicon: Lexicon = {
  what: 'the text',
  lengthMax: Number.POSITIVE_INFINITY,
  pairs: new Set(['==']),
  hasDoubleQuotes: true,
  hasComments: true,
  invalid: (what) => new Error(what) as never,
};

/** Characters that the scanner looks at. */
const stepsOf = (text: string): number => {
  const scanner = new Scanner(text, lexicon);
  try {
    while (!scanner.isAtEnd()) scanner.take();
  } catch {
    // A quote without its end.
  }
  return scanner.steps;
};

/** What the worst texts repeat. */
const repeated = [
  ' ',
  "'",
  "''",
  '"',
  '(',
  ')',
  '[',
  ']',
  '/',
  '//',
  '//\n',
  '=',
  '==',
  'a',
  'a ',
  ' and ',
  'a.',
  '.',
  ',',
  '-',
  '1',
  '|',
  ':',
  '\\',
  'ä',
  '%20',
  "['a']",
  '{',
  '\n',
  "a eq 'b' and ",
  '@',
  '~',
];

test('the scanner looks at each character at most three times', () => {
  for (const part of repeated)
    for (const length of [1_000, 10_000, 100_000]) {
      const text = `a ${part.repeat(length / part.length)}x`;
      assert.ok(stepsOf(text) <= 3 * text.length, `${length} characters of ${JSON.stringify(part)}`);
    }
});

test('a filter, a query and an expression that are too long are refused with their largest length', async () => {
  const tooLong = (max: number) => ({ status: 400, message: new RegExp(`at most ${max} are allowed`) });
  const filter = `name eq '${'x'.repeat(filterLengthMax)}'`;
  assert.throws(() => filterOf(filter, ['name']), tooLong(filterLengthMax));
  assert.throws(() => eventQueryOf(filter), tooLong(filterLengthMax));
  assert.throws(() => directoryFilterOf(filter), tooLong(filterLengthMax));
  assert.throws(() => roleFilterOf(filter), tooLong(filterLengthMax));
  assert.throws(() => graphQueryOf(`Resources ${' '.repeat(queryLengthMax)}`), tooLong(queryLengthMax));
  const expression = `['${'x'.repeat(expressionLengthMax)}']`;
  await assert.rejects(evaluate(expression, scope), tooLong(expressionLengthMax));
});

test('a query has at most 200 columns and conditions', () => {
  const columns = (count: number): string => Array.from({ length: count }, (_, n) => `c${n} = a`).join(', ');
  graphQueryOf(`Resources | project ${columns(200)}`);
  assert.throws(() => graphQueryOf(`Resources | project ${columns(201)}`), {
    code: 'NotSupported',
    message: /more than 200/,
  });
});

const scope = {
  subscription: 's',
  tenant: 't',
  group: 'g',
  location: 'w',
  deployment: 'd',
  parameter: async () => 'x',
  variable: async () => 'x',
  get work() {
    return testWork();
  },
};
const urls = openAccessUrls(masterKey(new Uint8Array(32)), { bytes: (n: number) => new Uint8Array(n) } as never, {
  now: () => 0,
});

/** Every parser of text that a request contains, with what its texts begin with. */
const parsers: Readonly<Record<string, readonly [(text: string) => unknown, readonly string[]]>> = {
  'filter of resources': [(text) => filterOf(text, ['name']), ['', 'name eq ', "name eq '", "name eq 'a'", '((']],
  'filter of events': [eventQueryOf, ['', 'eventTimestamp ge ', "eventTimestamp ge '", "correlationId eq 'a'"]],
  'filter of the directory': [directoryFilterOf, ['', "appId eq '", 'startswith(', 'servicePrincipalNames/any(c:c ']],
  'filter of roles': [roleFilterOf, ['', 'roleName eq ', "principalId eq '", 'atScope() ', 'assignedTo(']],
  query: [
    graphQueryOf,
    [
      '',
      'Resources | where a ',
      'Resources | where a in~ (',
      'Resources | project a',
      'Resources | order by a ',
      'R | summarize ',
    ],
  ],
  expression: [(text) => evaluate(`[${text}]`, scope).catch(() => undefined), ['', 'concat(', "concat('", 'a().', '-']],
  range: [(text) => rangeOf(text, 1_000), ['', 'bytes=', 'bytes=1', 'bytes=1-']],
  'id of a resource': [
    (text) => innerNameOfId(testNames, text, ['disks'], 'x'),
    ['', '/subscriptions/', '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d'],
  ],
  'id of a vault': [(id) => sourceVaultOf({ sourceVault: { id }, keyUrl: '' }), ['', '/a']],
  'URL of a key': [(text) => innerKeyUrl(testNames, text), ['', 'https://', 'https://a.', 'https://a.b/keys/']],
  host: [(text) => vaultInHost(testNames, text), ['', 'a']],
  target: [(text) => routerTarget(testNames, 'localhost', text), ['', '/', '/a?']],
  'signature of an access URL': [(text) => urls.open('d', text), ['']],
  page: [(text) => pageOf({ query: { $top: text } }), ['', '1']],
  header: [(text) => asciiHeaders({ a: text }), ['']],
  'message of a service': [
    (text) => textForClients(testNames, text),
    ['', 'vaults/a/keys/', 'subscriptions/a/resourceGroups/b/disks/'],
  ],
  body: [readJson, ['', '[', '{"a":', '"']],
  'body of a template': [(text) => readJson(text, true), ['', '[', '{a:', "'", '/*']],
};

/** How many characters a parser looks at. Expressions look without these calls: e2e/architecture checks each of them. */
const lookedAt = async (parse: (text: string) => unknown, text: string): Promise<number> => {
  const { charCodeAt, codePointAt } = String.prototype;
  let count = 0;
  String.prototype.charCodeAt = function (...given) {
    count += 1;
    return charCodeAt.apply(this, given);
  };
  String.prototype.codePointAt = function (...given) {
    count += 1;
    return codePointAt.apply(this, given);
  };
  try {
    await parse(text);
  } catch (error) {
    assert.equal((error as { readonly name?: unknown }).name, 'RestError', `${error} for ${text.slice(0, 50)}`);
  } finally {
    Object.assign(String.prototype, { charCodeAt, codePointAt });
  }
  return count;
};

test('no parser of a text in a request looks at more than a few times its characters, or fails', async () => {
  for (const [name, [parse, starts]] of Object.entries(parsers))
    for (const start of starts)
      for (const part of repeated)
        for (const length of [1_000, 10_000, 100_000]) {
          const text = `${start}${part.repeat(length / part.length)}x`;
          const count = await lookedAt(parse, text);
          const what = `${name}: ${count} for "${start}" and ${length} characters of ${JSON.stringify(part)}`;
          assert.ok(count <= 10 * text.length, what);
        }
});
