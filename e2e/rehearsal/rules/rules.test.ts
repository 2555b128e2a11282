import assert from 'node:assert/strict';
import { test } from 'node:test';
import { one } from './test-breaking.ts';
import { breaks } from './test-breaks.ts';
import { goodEvidence } from './test-evidence.ts';
import { judge, rules } from './verdicts.ts';

test('every rule holds for the evidence of a good rehearsal', () => {
  assert.deepEqual(
    judge(goodEvidence(), []).filter(({ verdict }) => verdict === 'fail'),
    [],
  );
});

for (const [id, ways] of Object.entries(breaks)) {
  for (const [what, breakIt] of Object.entries(ways)) {
    test(`${id} fails when ${what}`, () => {
      const evidence = goodEvidence();
      breakIt(evidence);
      const verdict = one(judge(evidence, []), (each) => each.id === id);
      assert.equal(verdict.verdict, 'fail');
      assert.match(verdict.evidence, /NOT AS DEMANDED/);
    });
  }
}

test('a rule without its evidence fails and gives the reason', () => {
  for (const { verdict, evidence } of judge({}, ['the cloud fell over'])) {
    assert.equal(verdict, 'fail');
    assert.match(evidence, /^not seen: .*the cloud fell over/);
  }
});

test('every demanded rule is judged once, in order, and has a test that breaks it', () => {
  const demanded = [
    ...Array.from({ length: 13 }, (_, index) => index + 1),
    ...[
      15, 16, 20, 25, 27, 38, 80, 82, 83, 100, 101, 102, 104, 105, 106, 110, 111, 120, 121, 122, 123, 126, 127, 130,
      133, 144,
    ],
  ].map((number) => `CMK-${String(number).padStart(2, '0')}`);
  const judged = rules.map(({ id }) => id);
  assert.deepEqual(
    demanded.filter((id) => !judged.includes(id)),
    [],
  );
  assert.equal(new Set(judged).size, judged.length);
  assert.deepEqual(judged, Object.keys(breaks));
});
