import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventStore, memoryStore } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import { lossOf } from '../vm/test-machine.ts';
import { openLosses } from './losses.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const loss = lossOf('des', 6);

test('CMK-120: a loss stored after access was restored blocks no machine', async () => {
  const store = memoryStore({ clock: systemClock });
  let isReturned = false;
  // A host reports the loss while restored access is consumed: each reads before the other has stored anything.
  const between: EventStore = {
    ...store,
    async commit(commit, why) {
      if (!isReturned) {
        isReturned = true;
        await store.commit({ rows: await openLosses(store).rowsForRestored(loss.set, loss.keyVersion, 7) }, cause);
      }
      return store.commit(commit, why);
    },
  };
  const losses = openLosses(between);
  await losses.remember(loss, cause);
  assert.equal(await losses.anyLost([loss]), false);
  assert.deepEqual(
    (await losses.of(loss.set, loss.keyVersion)).map(({ accessEpoch, isOver }) => [accessEpoch, isOver]),
    [[6, true]],
  );
  await losses.remember({ ...loss, accessEpoch: 8 }, cause);
  assert.equal(await losses.anyLost([loss]), true, 'the next one is another');
});

test('CMK-120: the loss of a deleted identity, stored after access was restored, counts as over', async () => {
  const store = memoryStore({ clock: systemClock });
  const end = { ...loss, reason: 'IDENTITY_DELETED', accessEpoch: 0, principal: 'principals/p' } as const;
  let isReturned = false;
  const between: EventStore = {
    ...store,
    async commit(commit, why) {
      if (!isReturned) {
        isReturned = true;
        const other = openLosses(store);
        await other.remember(end, cause);
        await store.commit({ rows: await other.rowsForRestored(end.set, end.keyVersion, 7) }, cause);
      }
      return store.commit(commit, why);
    },
  };
  const losses = openLosses(between);
  await losses.remember(end, cause);
  assert.deepEqual([await losses.isOver(end), await losses.anyLost([end])], [true, false]);
  const next = { ...end, principal: 'principals/next' };
  await losses.remember(next, cause);
  assert.deepEqual([await losses.isOver(next), await losses.anyLost([end])], [false, true], 'the next one is another');
  await store.commit({ rows: await losses.rowsForDeleted(end.set) }, cause);
  assert.deepEqual([await losses.isOver(end), await losses.of(end.set, end.keyVersion)], [false, []]);
});
