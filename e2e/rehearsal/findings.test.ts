import assert from 'node:assert/strict';
import { test } from 'node:test';
import { done, refused } from './attempt.ts';
import { all, each, type Finding, finding, openFindings, type See } from './findings.ts';
import { type RuleId, rules } from './rules.ts';

const ids = Object.keys(rules) as readonly RuleId[];
const good = finding(true, 'as it should be');

/** The verdicts when every part of every rule shows a good finding, except for some. */
const verdicts = (changed: (id: RuleId, part: string) => readonly Finding[], problems: readonly string[] = []) => {
  const findings = openFindings();
  for (const id of ids)
    for (const part of rules[id].parts) findings.see(id, part as Parameters<See>[1], ...changed(id, part));
  return findings.verdicts(problems);
};
const failing = (changed: Parameters<typeof verdicts>[0]): readonly string[] =>
  verdicts(changed).flatMap(({ id, verdict }) => (verdict === 'fail' ? [id] : []));

test('every demanded rule is judged once, in order', () => {
  const demanded = [
    ...Array.from({ length: 13 }, (_, index) => index + 1),
    ...[
      15, 16, 20, 25, 27, 38, 80, 82, 83, 100, 101, 102, 103, 104, 105, 106, 110, 111, 120, 121, 122, 123, 126, 127,
      130, 133, 144,
    ],
  ].map((number) => `CMK-${String(number).padStart(2, '0')}`);
  assert.equal(ids.length, 40);
  assert.deepEqual(ids, demanded);
  assert.deepEqual(
    openFindings()
      .verdicts([])
      .map(({ id }) => id),
    demanded,
  );
});

test('a rule holds if each of its parts shows something and all of it holds', () => {
  assert.deepEqual(
    failing(() => [good]),
    [],
  );
  for (const id of ids) {
    for (const part of rules[id].parts) {
      const isHere = (one: RuleId, at: string): boolean => one === id && at === part;
      assert.deepEqual(
        failing((...here) => (isHere(...here) ? [] : [good])),
        [id],
        `${part} shows nothing`,
      );
      assert.deepEqual(
        failing((...here) => (isHere(...here) ? [good, finding(false, 'wrong')] : [good])),
        [id],
        `${part} shows something wrong`,
      );
    }
  }
});

test('a failed rule says only what was wrong; one without its evidence says which part is missing, and why', () => {
  const [wrong] = verdicts(() => [good, finding(false, 'another colour')]);
  assert.equal(wrong?.evidence, 'NOT AS DEMANDED: another colour; NOT AS DEMANDED: another colour');
  for (const { verdict, evidence } of openFindings().verdicts(['the cloud fell over'])) {
    assert.equal(verdict, 'fail');
    assert.match(evidence, /^not seen: .*the cloud fell over/);
  }
});

test('a finding about several things needs at least one of them, and names those that are wrong', () => {
  const isEven = (n: number): boolean => n % 2 === 0;
  assert.deepEqual(each([2, 4], isEven, String, 'even: '), finding(true, 'even: 2, 4'));
  assert.deepEqual(each([2, 3, 4, 5], isEven, String, 'even: '), finding(false, 'even: 3, 5'));
  assert.deepEqual(each([], isEven, String, 'even: '), finding(false, 'even: none'));
  assert.deepEqual(
    all([1, 2], isEven, (some) => `${some.length} numbers`),
    finding(false, '1 numbers'),
  );
});

test('an attempt that was done is not refused, nor is one that was refused for another reason or not answered', () => {
  const one = { what: 'opening', code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED', tookMs: 1 };
  const denied = { ...one, outcome: 'refused' } as const;
  assert.deepEqual(refused([denied], 'ACCESS_DENIED'), finding(true, 'opening: refused ACCESS_DENIED'));
  assert.deepEqual(refused([denied], 'KEY_DELETED'), finding(false, 'opening: refused ACCESS_DENIED'));
  assert.equal(refused([denied, { ...one, outcome: 'done' }], 'ACCESS_DENIED').seen, 'opening: done');
  assert.equal(refused([{ ...one, outcome: 'unanswered' }], 'ACCESS_DENIED').holds, false);
  assert.equal(refused([], 'ACCESS_DENIED').holds, false);
  assert.deepEqual(done({ ...one, outcome: 'done' }), finding(true, 'opening: done'));
  assert.equal(done(denied).holds, false);
});
