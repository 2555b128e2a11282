import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rulePage, rulesOn, withProofs } from './rule-page.ts';
import { ruleIdsIn, ruleProofs } from './rule-proofs.ts';
import { textOf } from './sources.ts';
import { testTitles } from './test-titles.ts';

const page = textOf(rulePage);
const proofs = ruleProofs();

test('the last column of docs/rules.md matches the tests (npm run rules writes it)', () => {
  assert.equal(page, withProofs(page, proofs));
});

test('every rule a test names is on the page, once', () => {
  const rules = rulesOn(page);
  const unknown = [...proofs].filter(([rule]) => !rules.includes(rule)).map(([rule, files]) => `${rule} in ${files}`);
  assert.deepEqual(unknown, []);
  assert.deepEqual(
    rules.filter((rule, index) => rules.indexOf(rule) !== index),
    [],
  );
});

test('no rule is missing from the page, and each has a text', () => {
  const rules = rulesOn(page);
  const counts = ['CMK-', 'KV-', 'VM-'].map((family) => rules.filter((rule) => rule.startsWith(family)).length);
  assert.deepEqual(counts, [109, 80, 39]);
  assert.doesNotMatch(page, /^\| [A-Z]+-\d+ \| *\|/m);
  assert.doesNotMatch(page, /not covered: *\|/);
});

test('titles are read from tests that run, whatever form they have, and from nothing else', () => {
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

test('a proof is linked, a rule that is not covered keeps its reason, others get a dash; all are counted', () => {
  const before = [
    '0 rules',
    '| CMK-01 | one | – |',
    '| CMK-02 | two | not covered: none exist |',
    '| CMK-03 | three | [gone](../gone.test.ts) |',
    '| CMK-04 | four | not covered: none exist |',
  ].join('\n');
  const found = new Map([
    ['CMK-01', ['services/disk/src/host/cipher/dek.test.ts', 'e2e/scenarios/x.test.ts']],
    ['CMK-04', ['libs/rpc/src/tokens.test.ts']],
  ]);
  assert.equal(
    withProofs(before, found),
    [
      '4 rules: 2 named by tests, 1 not implemented (CMK-02), 1 without a test.',
      '| CMK-01 | one | [disk/dek](../services/disk/src/host/cipher/dek.test.ts), [scenarios/x](../e2e/scenarios/x.test.ts) |',
      '| CMK-02 | two | not covered: none exist |',
      '| CMK-03 | three | – |',
      '| CMK-04 | four | [rpc/tokens](../libs/rpc/src/tokens.test.ts) |',
    ].join('\n'),
  );
});
