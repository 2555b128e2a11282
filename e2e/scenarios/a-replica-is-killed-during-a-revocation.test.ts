import { test } from 'node:test';
import { killDuringRevocation, replicatedWorld } from './test-killed-replica.ts';

const open = replicatedWorld();

// One that divides work by partitions, and one that stands by. a-replica-is-killed-during-a-revocation.long.test.ts kills all others.
for (const [service, victim] of [
  ['compute', 0],
  ['disk', 0],
] as const) {
  test(`CMK-100, G2, G3, G5, G7: ${service}, replica ${victim} of two, is killed during a revocation; each machine stops once and comes back`, () =>
    killDuringRevocation(open(), service, victim));
}
