import assert from 'node:assert/strict';
import { test } from 'node:test';
import { variableOf } from '@interlock/runtime';
import { settingsPage, specs, variablesOn, withSettings } from './settings-page.ts';
import { filesLike, textOf } from './sources.ts';

const page = textOf(settingsPage);
const sources = filesLike(/^(libs|services|deploy|e2e)\/.*\.(ts|mjs)$/)
  .filter((file) => !/(^|\/)(test-[^/]*|[^/]*\.test)\.ts$|^libs\/contracts\//.test(file))
  .map((file) => ({ file, text: textOf(file) }));

/** Set by the system, npm or the test runner, not by an operator. */
const notOurs = new Set(['HOME', 'PATH', 'HOSTNAME', 'INIT_CWD', 'NODE_TEST_CONTEXT', 'TZ']);

/** Variables read by name: `env.X`, `process.env.X`, `const { X: … } = process.env`, and names in a constant. */
const readByName = (text: string): readonly string[] => [
  ...[...text.matchAll(/\benv\.([A-Z][A-Z0-9_]+)\b/g)].map(([, name = '']) => name),
  ...[...text.matchAll(/\{([^{}]*)\} = process\.env\b/g)].flatMap(([, inner = '']) =>
    [...inner.matchAll(/\b([A-Z][A-Z0-9_]+)\b/g)].map(([, name = '']) => name),
  ),
  ...[...text.matchAll(/_VARIABLE = '([A-Z][A-Z0-9_]+)'/g)].map(([, name = '']) => name),
];

/** Variables of specifications that are defined where they are read: `const spec = { outFolder: text(…) }`. */
const readBySpec = (text: string): readonly string[] =>
  /\breadConfig\(/.test(text)
    ? [...text.matchAll(/^\s+([a-z]\w+): (?:text|int|bool|oneOf|optional|url|secretFile)\(/gm)].map(([, name = '']) =>
        variableOf(name),
      )
    : [];

test("docs/settings.md has the services' settings as in the code (npm run rules corrects it)", () => {
  assert.equal(withSettings(page), page);
  for (const spec of Object.values(specs)) {
    for (const name of Object.keys(spec)) assert.ok(variablesOn(page).includes(variableOf(name)), variableOf(name));
  }
});

test('the page has exactly the variables that the code reads', () => {
  const read = new Set([
    ...sources.flatMap(({ text }) => [...readByName(text), ...readBySpec(text)]),
    ...Object.values(specs).flatMap((spec) => Object.keys(spec).map(variableOf)),
    // The code composes this name from the name of the service.
    ...(textOf('services/cli/src/session/settings.ts').includes('_ADDRESS`]') ? ['INTERLOCK_<SERVICE>_ADDRESS'] : []),
  ]);
  assert.ok(read.has('CHAOS_SEED') && read.has('INTERLOCK_AS') && read.has('OUT_FOLDER'), [...read].join());
  const known = [...read].filter((name) => !notOurs.has(name));
  assert.deepEqual([...new Set(variablesOn(page))].sort(), known.sort());
});
