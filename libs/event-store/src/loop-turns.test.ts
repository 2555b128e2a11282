import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLoopTurns } from './loop-turns.ts';

test('pieces of work begin one a turn of the event loop, in their order, and others are served between them', async () => {
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
  // Also once nothing has waited any more, and for what is asked for in a turn.
  await piece('d');
  await piece('e');
  assert.deepEqual(seen.slice(-2), ['d', 'e']);
});
