import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Rejection } from '@interlock/event-store';
import type { AuditedCall } from '../audit/log.ts';
import { keyUrls } from '../names.ts';
import { openJudging, recordJudgement } from './judging.ts';

const asked = (id: string, tenant = 't'): AuditedCall => ({
  caller: { kind: 'managed_identity', id, name: `principals/${id}`, tenant },
  cause: { correlationId: id, causes: [], caller: id },
  peer: '127.0.0.1:1',
});

/** A judge with a scripted answer, and a list of what it judged for whom. */
const watched = () => {
  const judging = openJudging(keyUrls('vault.test'));
  const judgements: string[] = [];
  let answer = () => 'yes';
  const ask = (question: string, who: string) =>
    judging(question, asked(who), async (subjects) => {
      judgements.push(`${who} ${question}`);
      subjects.inVault('v1');
      return answer();
    });
  return {
    ask,
    judgements,
    answerWith: (next: () => string) => {
      answer = next;
    },
  };
};

test('equal questions of one principal in one turn of the event loop are judged once', async () => {
  const { ask, judgements } = watched();
  const all = await Promise.all([
    ask('unwrapKey k', 'a'),
    ask('unwrapKey k', 'a'),
    ask('unwrapKey k', 'b'),
    ask('get k', 'a'),
  ]);
  assert.deepEqual(judgements, ['a unwrapKey k', 'b unwrapKey k', 'a get k']);
  for (const judged of all)
    assert.deepEqual(
      [judged.subjects.all.map(({ vault }) => vault), recordJudgement(judged, anEntry)],
      [['v1'], 'yes'],
    );
});

test('the same id in another tenant is another principal', async () => {
  const judging = openJudging(keyUrls('vault.test'));
  const all = await Promise.all(
    ['t', 'u'].map((tenant) => judging('get k', asked('a', tenant), async () => `judged in ${tenant}`)),
  );
  assert.deepEqual(
    all.map((judged) => recordJudgement(judged, anEntry)),
    ['judged in t', 'judged in u'],
  );
});

test('G1: no caller is judged by a decision made before its call', async () => {
  const judging = openJudging(keyUrls('vault.test'));
  const first = Promise.withResolvers<string>();
  const slow = judging('unwrapKey k', asked('a'), () => first.promise);
  await nextTurn();
  const disabled = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'it is disabled by now');
  const later = await judging('unwrapKey k', asked('a'), () => Promise.reject(disabled));
  assert.throws(() => recordJudgement(later, anEntry), { reason: 'KEY_DISABLED' });
  first.resolve('yes');
  assert.equal(recordJudgement(await slow, anEntry), 'yes');
  const again = await judging('unwrapKey k', asked('a'), () => Promise.reject(disabled));
  assert.throws(() => recordJudgement(again, anEntry), { reason: 'KEY_DISABLED' });
});

test('G9: a shared refusal goes to every caller, with the audit subjects that the judgement found', async () => {
  const { ask, answerWith } = watched();
  answerWith(() => {
    throw new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  });
  for (const judged of await Promise.all([ask('unwrapKey k', 'a'), ask('unwrapKey k', 'a')])) {
    let subjects: unknown;
    assert.throws(
      () =>
        recordJudgement(judged, {
          concerns: (found) => {
            subjects = found.all;
          },
        }),
      { reason: 'ACCESS_DENIED' },
    );
    assert.deepEqual(subjects, [{ vault: 'v1', madeAt: 0, key: '', uri: 'https://v1.vault.test' }]);
  }
});

const anEntry = { concerns: () => undefined };
