import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ThreadGate, ThreadPass } from './thread-gate.ts';

const dek = Uint8Array.from({ length: 32 }, (_, at) => at + 1);

test('G1: the other thread cannot enter before it has a permission or after the permission expires', async () => {
  const gate = new ThreadGate(dek);
  const pass = new ThreadPass(gate.memory);
  assert.equal(pass.enter(), false);
  gate.allow(60_000);
  assert.equal(pass.enter(), true);
  assert.deepEqual(pass.dek(), dek);
  pass.leave();
  assert.equal(gate.wasUsed(), true);
  assert.equal(gate.wasUsed(), false);
  gate.allow(30);
  await sleep(40);
  assert.equal(pass.enter(), false);
  assert.equal(pass.isOpen(), false);
});

test('G1: a revoked gate stays closed whatever is permitted later, and its DEK is overwritten', async () => {
  const gate = new ThreadGate(dek);
  const pass = new ThreadPass(gate.memory);
  gate.allow(60_000);
  gate.revoke();
  await gate.revoked;
  gate.allow(60_000);
  assert.equal(pass.enter(), false);
  assert.deepEqual(pass.dek(), new Uint8Array(32));
});

test('work of this thread waits until the other thread has left, and keeps it out meanwhile', async () => {
  const gate = new ThreadGate(dek);
  const pass = new ThreadPass(gate.memory);
  gate.allow(60_000);
  assert.equal(pass.enter(), true);
  let isBegun = false;
  const work = gate.whileClosed(async () => {
    isBegun = true;
    assert.equal(pass.enter(), false);
  });
  await sleep(5);
  assert.equal(isBegun, false);
  assert.equal(pass.isOpen(), false);
  pass.leave();
  await work;
  assert.equal(isBegun, true);
  assert.equal(pass.enter(), true);
});

/** Adds 1 to a number, not atomically, as often as it may enter; then reports how often it did. */
const adder = `
  const { parentPort, workerData } = require('node:worker_threads');
  import(workerData.module).then(({ ThreadPass }) => {
    const pass = new ThreadPass(workerData.memory);
    const numbers = new Int32Array(workerData.numbers);
    let added = 0;
    parentPort.postMessage('ready');
    while (Atomics.load(numbers, 1) === 0) {
      if (!pass.enter()) continue;
      const before = numbers[0];
      for (let wait = 0; wait < 50; wait += 1) Atomics.load(numbers, 1);
      numbers[0] = before + 1;
      added += 1;
      pass.leave();
    }
    parentPort.postMessage(added);
  });
`;

test('two threads that use the gate never work at the same time', { timeout: 60_000 }, async () => {
  const gate = new ThreadGate(dek);
  const numbers = new SharedArrayBuffer(8);
  const view = new Int32Array(numbers);
  const module = new URL('./thread-gate.ts', import.meta.url).href;
  const worker = new Worker(adder, { eval: true, workerData: { module, memory: gate.memory, numbers } });
  await once(worker, 'message');
  gate.allow(60_000);
  let added = 0;
  while (added < 3_000) {
    await gate.whileClosed(async () => {
      const before = view[0] ?? 0;
      for (let wait = 0; wait < 50; wait += 1) Atomics.load(view, 1);
      view[0] = before + 1;
    });
    added += 1;
    if (added % 100 === 0) await sleep(1);
  }
  Atomics.store(view, 1, 1);
  const [ofWorker] = (await once(worker, 'message')) as [number];
  assert.ok(ofWorker > 0, 'the other thread never entered');
  assert.equal(view[0], added + ofWorker);
});
