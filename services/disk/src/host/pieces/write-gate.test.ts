import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ThreadGate, ThreadPass } from '../keys/thread-gate.ts';
import { WriteGate } from './write-gate.ts';

const range = { offset: 0, length: 4_096 };

test('a copy waits for the writes in progress, and later writes wait for the copy', async () => {
  const gate = new WriteGate();
  const order: string[] = [];
  const first = Promise.withResolvers<void>();
  const copying = Promise.withResolvers<void>();
  const writing = gate.write(range, () => first.promise.then(() => order.push('first write')));
  const copy = gate.withoutWrites(async () => {
    order.push('copy begins');
    await copying.promise;
    order.push('copy ends');
  });
  const second = gate.write(range, async () => order.push('second write'));
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
    gate.write(range, () => Promise.reject(new Error('no'))),
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

test('G5: a write is reported when it has ended, also if it failed, and before work without writes begins', async () => {
  const gate = new WriteGate();
  const order: string[] = [];
  const done = Promise.withResolvers<void>();
  const early = gate.write({ offset: 1, length: 1 }, () => done.promise);
  const stop = await gate.follow(({ offset }) => order.push(`wrote ${offset}`));
  await assert.rejects(gate.write({ offset: 2, length: 1 }, () => Promise.reject(new Error('no'))));
  const alone = gate.withoutWrites(async () => order.push('alone'));
  assert.deepEqual(order, ['wrote 2'], 'a piece that is read now may have only a part of the first write');
  done.resolve();
  await Promise.all([early, alone]);
  assert.deepEqual(order, ['wrote 2', 'wrote 1', 'alone']);
  stop();
  await gate.write({ offset: 3, length: 1 }, async () => undefined);
  assert.equal(order.length, 3);
});

test('G5: another thread passes its writes to this one while they are followed, also under a later key', async () => {
  const gate = new WriteGate();
  const [before, later] = [new ThreadGate(new Uint8Array(32)), new ThreadGate(new Uint8Array(32))];
  for (const one of [before, later]) one.allow(60_000);
  const mayWrite = (one: ThreadGate): boolean => new ThreadPass(one.memory).isOpen();
  gate.attach(before);
  const stop = await gate.follow(() => undefined);
  gate.attach(later);
  assert.deepEqual([mayWrite(before), mayWrite(later)], [false, false]);
  gate.detach(before);
  stop();
  assert.deepEqual([mayWrite(before), mayWrite(later)], [true, true]);
});
