import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryProblems } from './memory.ts';

/** One sample every ten seconds. */
const samples = (seconds: number, mib: (atS: number) => number) =>
  Array.from({ length: seconds / 10 + 1 }, (_, n) => ({ atS: n * 10, residentMib: { disk: mib(n * 10) } }));

test('reports memory that keeps growing, and not memory that grows and then stays constant', () => {
  assert.deepEqual(memoryProblems(samples(600, (atS) => Math.min(240, 140 + atS))), []);
  assert.match(memoryProblems(samples(600, (atS) => 140 + atS / 5)).join(), /^disk grew by \d+ MiB/);
});

test('reports memory above the limit in any run, and growth in long runs only', () => {
  assert.match(memoryProblems(samples(20, (atS) => (atS === 10 ? 351 : 140))).join(), /^disk had 351 MiB in memory/);
  assert.deepEqual(memoryProblems(samples(60, (atS) => 140 + atS * 2)), []);
});
