import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionOf } from '../testing/test-neighbour-keys.ts';
import { creatingSet, type TestSets } from '../testing/test-sets.ts';
import { type Loss, loseKey, questionKey, refuseKey } from './access.ts';
import { completeCreation } from './decider.ts';
import { changeOptions } from './options.ts';

const lossAt = (epoch: number, reason: Loss['reason']): Loss => ({
  keyVersion: versionOf('1'),
  reason,
  epoch,
  since: 5,
  traceId: '',
});

/** A key disabled at 7, enabled again at 8, expired at 9, of a set whose machines outlive an expiry. */
const expiredBehindQuestion = async (): Promise<TestSets> => {
  const parts = await creatingSet();
  await parts.decide(completeCreation(2));
  await parts.decide(changeOptions(3, { keyExpiry: 'next_start' }));
  await parts.decide(loseKey(4, lossAt(7, 'KEY_DISABLED')));
  await parts.decide(questionKey(versionOf('1'), { epoch: 8, since: 5, traceId: '' }));
  await parts.decide(loseKey(6, lossAt(9, 'KEY_EXPIRED')));
  return parts;
};

test('G3: a refusal for an expiry corrects the reason of the published loss, so opens since then are not affected', async () => {
  const parts = await expiredBehindQuestion();
  const [told, answer] = refuseKey(7, lossAt(9, 'KEY_EXPIRED'))(await parts.state());
  assert.ok(told?.type === 'KeyAccessLost');
  assert.deepEqual([told.reason, told.epoch], ['KEY_EXPIRED', 7], 'the reason in force, under the published number');
  assert.equal(answer?.type, 'KeyAccessAnswered');
  await parts.decide(refuseKey(7, lossAt(9, 'KEY_EXPIRED')));
  assert.deepEqual(loseKey(8, lossAt(9, 'KEY_EXPIRED'))(await parts.state()), [], 'the expiry itself is known');
});

test('CMK-104: when keyExpiry is set to stop, the expiry is published under its own epoch', async () => {
  const parts = await expiredBehindQuestion();
  await parts.decide(refuseKey(7, lossAt(9, 'KEY_EXPIRED')));
  const stricter = changeOptions(8, { keyExpiry: 'stop' });
  const [, told, ...rest] = stricter(await parts.state());
  assert.ok(told?.type === 'KeyAccessLost' && rest.length === 0);
  assert.deepEqual([told.reason, told.epoch], ['KEY_EXPIRED', 9]);
});
