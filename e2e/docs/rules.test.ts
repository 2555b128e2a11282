import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLong } from '@interlock/local/test-run/selection.ts';
import { notImplementedOn, rulePage, rulesOn, withProofs } from './rule-page.ts';
import { ruleIdsIn, ruleProofs } from './rule-proofs.ts';
import { textOf } from './sources.ts';
import { testTitles } from './test-titles.ts';

const page = textOf(rulePage);
const proofs = ruleProofs();

test('the last column of docs/rules.md matches the tests (npm run rules writes it)', () => {
  assert.equal(page, withProofs(page, proofs));
});

test('every rule that a test names is on the page exactly once', () => {
  const rules = rulesOn(page);
  const unknown = [...proofs].filter(([rule]) => !rules.includes(rule)).map(([rule, files]) => `${rule} in ${files}`);
  assert.deepEqual(unknown, []);
  assert.deepEqual(
    rules.filter((rule, index) => rules.indexOf(rule) !== index),
    [],
  );
});

test('npm test or npm start proves every rule that is implemented: none is left to npm run test:all alone', () => {
  const left = [...proofs].filter(([, files]) => files.every(isLong)).map(([rule, files]) => `${rule} in ${files}`);
  assert.deepEqual(left, []);
});

test('the page has all 109 CMK, 80 KV and 39 VM rules, each with a text', () => {
  const rules = rulesOn(page);
  const counts = ['CMK-', 'KV-', 'VM-'].map((family) => rules.filter((rule) => rule.startsWith(family)).length);
  assert.deepEqual(counts, [109, 80, 39]);
  assert.doesNotMatch(page, /^\| [A-Z]+-\d+ \| *\|/m);
});

test('reads rule ids from the titles of tests that run, in every form of title, and from nothing else', () => {
  const source = `
    // test('CMK-900: only a comment', …)
    test('CMK-901, CMK-902: two at once', () => {});
    describe(\`\${name}: in a template (KV-903)\`, () => { it.only("VM-904", () => {}); });
    test.skip('CMK-905: sleeps', () => {});
    assert.equal('CMK-906', 'no title');
    await t.test('part (KV-907)', () => {});`;
  assert.deepEqual(testTitles('some.test.ts', source).flatMap(ruleIdsIn), [
    'CMK-901',
    'CMK-902',
    'KV-903',
    'VM-904',
    'KV-907',
  ]);
});

test('no test names a rule that the page lists as not implemented', () => {
  assert.deepEqual(
    notImplementedOn(page).filter((rule) => proofs.has(rule)),
    [],
  );
});

test('links a rule to its tests, marks one without tests with a dash, keeps those not implemented, and counts them', () => {
  const before = [
    '0 rules',
    '## Not implemented',
    '| ids | subject | why |',
    '| CMK-02, KV-05 | two | none exist |',
    '## Others',
    '| CMK-01 | one | – |',
    '| CMK-03 | three | [gone](../gone.test.ts) |',
    '| CMK-04 | four | – |',
  ];
  const found = new Map([
    ['CMK-01', ['services/disk/src/host/cipher/dek.test.ts', 'e2e/scenarios/x.test.ts']],
    ['CMK-04', ['libs/rpc/src/tokens.test.ts']],
  ]);
  assert.equal(
    withProofs(before.join('\n'), found),
    [
      '5 rules: 2 named by tests, 2 not implemented, 1 without a test.',
      ...before.slice(1, 5),
      '| CMK-01 | one | [disk/dek](../services/disk/src/host/cipher/dek.test.ts), [scenarios/x](../e2e/scenarios/x.test.ts) |',
      '| CMK-03 | three | – |',
      '| CMK-04 | four | [rpc/tokens](../libs/rpc/src/tokens.test.ts) |',
    ].join('\n'),
  );
  assert.deepEqual(notImplementedOn(before.join('\n')), ['CMK-02', 'KV-05']);
});
