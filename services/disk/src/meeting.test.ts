import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMeeting } from './meeting.ts';

test('work goes on together once all of it has arrived, and waits for nothing that ended on its way', async () => {
  const meeting = openMeeting(4);
  const order: string[] = [];
  const { promise: late, resolve: letGo } = Promise.withResolvers<void>();
  const attend = (name: string, before: () => Promise<void>) =>
    meeting.attend(async (arrive) => {
      await before();
      order.push(`${name} arrives`);
      await arrive();
      order.push(`${name} goes on`);
      await arrive();
      return name;
    });
  const all = Promise.allSettled([
    attend('a', async () => {}),
    attend('b', () => late),
    meeting.attend(async () => 'ends early'),
    meeting.attend(() => Promise.reject(new Error('failed'))),
  ]);
  await new Promise(setImmediate);
  assert.deepEqual(order, ['a arrives']);
  letGo();
  const outcomes = await all;
  assert.deepEqual(order, ['a arrives', 'b arrives', 'a goes on', 'b goes on']);
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : String(outcome.reason))),
    ['a', 'b', 'ends early', 'Error: failed'],
  );
});
