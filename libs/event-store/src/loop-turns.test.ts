import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLoopTurns } from './loop-turns.ts';

test('pieces of work start in order, one in each turn of the event loop, with other callbacks in between', async () => {
  const turn = openLoopTurns();
  const seen: string[] = [];
  const piece = async (name: string): Promise<void> => {
    await turn();
    seen.push(name);
  };
  const served = (): Promise<void> =>
    new Promise((resolve) => {
      setImmediate(() => {
        seen.push('served');
        resolve();
      });
    });
  const pieces = [piece('a'), piece('b'), piece('c')];
  await served();
  await served();
  await Promise.all(pieces);
  assert.deepEqual(seen, ['a', 'served', 'b', 'served', 'c']);
  // Also after the queue was empty, and for work that is added in a turn.
  await piece('d');
  await piece('e');
  assert.deepEqual(seen.slice(-2), ['d', 'e']);
});
