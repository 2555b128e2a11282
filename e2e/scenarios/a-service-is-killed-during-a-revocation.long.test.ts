import { test } from 'node:test';
import { killedServices } from './test-killed-service.ts';

const kill = killedServices();

// a-service-is-killed-during-a-revocation.test.ts kills the two others at the same moments.
for (const service of ['identity', 'disk', 'compute'] as const) {
  test(`CMK-100, G2, G5, G7: ${service} is killed and restarted during a revocation; all machines stop, and come back with all bytes`, () =>
    kill(service));
}
