import { test } from 'node:test';
import { killedServices } from './test-killed-service.ts';

const kill = killedServices();

// The one that starts a revocation and the one that passes it on. The long file kills the three others; a replica of compute and of disk
// is killed in a-replica-is-killed-during-a-revocation.test.ts.
for (const service of ['key-vault', 'disk-encryption-set'] as const) {
  test(`CMK-100, G2, G5, G7: ${service} is killed and restarted during a revocation; all machines stop, and come back with all bytes`, () =>
    kill(service));
}
