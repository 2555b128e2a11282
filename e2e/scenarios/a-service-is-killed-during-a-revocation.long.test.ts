import { test } from 'node:test';
import { killedServices } from './test-killed-service.ts';

const kill = killedServices();

// a-service-is-killed-during-a-revocation.test.ts kills key-vault at the same moments.
for (const service of ['identity', 'disk-encryption-set', 'disk', 'compute'] as const) {
  test(`CMK-100, G2, G5, G7: ${service} is killed and restarted during a revocation; all machines stop, and come back with all bytes`, () =>
    kill(service));
}
