import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteGate } from './write-gate.ts';

test('a copy waits for the writes in progress, and later writes wait for the copy', async () => {
  const gate = new WriteGate();
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const copying = Promise.withResolvers<void>();
  const writing = gate.write(() => first.promise.then(() => order.push('first write')));
  const copy = gate.withoutWrites(async () => {
    order.push('copy begins');
    await copying.promise;
    order.push('copy ends');
  });
  const second = gate.write(async () => order.push('second write'));
  first.resolve();
  copying.resolve();
  await Promise.all([writing, copy, second]);
  assert.deepEqual(order, ['first write', 'copy begins', 'copy ends', 'second write']);
});

test('copies run one after the other, and a failed copy or write blocks neither copies nor writes', async () => {
  const gate = new WriteGate();
  await assert.rejects(
    gate.withoutWrites(() => Promise.reject(new Error('no'))),
    /no/,
  );
  await assert.rejects(
    gate.write(() => Promise.reject(new Error('no'))),
    /no/,
  );
  let running = 0;
  const copy = () =>
    gate.withoutWrites(async () => {
      running += 1;
      assert.equal(running, 1);
      await Promise.resolve();
      running -= 1;
    });
  await Promise.all([copy(), copy(), copy()]);
});
