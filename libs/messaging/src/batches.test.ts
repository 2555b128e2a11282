import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { joinBatches } from './batches.ts';

/** A message with facts at `positions` after `previousPosition`; without facts it is a watermark at `last`. */
const message = (previousPosition: number, positions: readonly number[], last = positions.at(-1)) => ({
  batch: FactBatch.fromPartial({
    previousPosition,
    firstPosition: positions[0] ?? last ?? 0,
    lastPosition: last ?? 0,
    facts: positions.map((position) => ({ position })),
  }),
});

const joined = (messages: readonly ReturnType<typeof message>[], factsMax = 16) =>
  joinBatches(messages, factsMax).map(({ batch, of }) => ({
    from: batch.previousPosition,
    facts: batch.facts.map(({ position }) => position),
    to: batch.lastPosition,
    messages: of.length,
  }));

test('consecutive batches are joined into one with the first start and the last end', () => {
  assert.deepEqual(joined([message(4, [5, 6]), message(6, [9]), message(9, [12])]), [
    { from: 4, facts: [5, 6, 9, 12], to: 12, messages: 3 },
  ]);
});

test('a gap or a redelivered batch starts a new joined batch', () => {
  const parts = joined([message(0, [1]), message(3, [4]), message(0, [1]), message(1, [2])]);
  assert.deepEqual(
    parts.map(({ facts }) => facts),
    [[1], [4], [1, 2]],
  );
});

test('a watermark is not joined', () => {
  const parts = joined([message(0, [1]), message(1, [], 3), message(1, [4])]);
  assert.deepEqual(
    parts.map(({ facts, to }) => [facts, to]),
    [
      [[1], 1],
      [[], 3],
      [[4], 4],
    ],
  );
});

test('a joined batch has at most factsMax facts; a single larger batch stays whole', () => {
  const parts = joined([message(0, [1, 2, 3]), message(3, [4]), message(4, [5]), message(5, [6])], 2);
  assert.deepEqual(
    parts.map(({ facts }) => facts),
    [[1, 2, 3], [4, 5], [6]],
  );
});
