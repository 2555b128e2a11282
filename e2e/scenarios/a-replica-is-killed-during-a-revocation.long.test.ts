import { test } from 'node:test';
import { serviceNames } from '@interlock/local/services.ts';
import { killDuringRevocation, replicatedWorld } from './test-killed-replica.ts';

const open = replicatedWorld();

// Each replica of each service. a-replica-is-killed-during-a-revocation.test.ts kills one of each kind.
for (const service of serviceNames) {
  for (const victim of [0, 1] as const) {
    test(`CMK-100, G2, G3, G5, G7: ${service}, replica ${victim} of two, is killed during a revocation; each machine stops once and comes back`, () =>
      killDuringRevocation(open(), service, victim));
  }
}
