import { test } from 'node:test';
import { killedServices } from './test-killed-service.ts';

const kill = killedServices();

// The one that starts a revocation. The long file kills the four others; a replica of compute and of disk is killed in
// a-replica-is-killed-during-a-revocation.test.ts.
test('CMK-100, G2, G5, G7: key-vault is killed and restarted during a revocation; all machines stop, and come back with all bytes', () =>
  kill('key-vault'));
