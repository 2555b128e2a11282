import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WrapKeyRequest } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import { type Cause, memoryStore } from '@interlock/event-store';
import type { Call, Principal } from '@interlock/rpc';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { RateLimit } from '../access/rate-limit.ts';
import { AuditLog } from '../audit/log.ts';
import { keyUrls } from '../names.ts';
import { cryptographyApi } from './api.ts';

test('G8: the plaintext key of a throttled wrap request is cleared', async () => {
  const clock = virtualClock();
  const random = seededRandom(1);
  const limits = new RateLimit({ principal: { perSecond: 1, burst: 1 } }, clock);
  const caller: Principal = { kind: 'app', id: 'p', name: 'principals/p', tenant: 't' };
  const log = new AuditLog({
    store: memoryStore({ clock }),
    clock,
    random,
    log: logger({ service: 'test', clock }),
    urls: keyUrls('vault.test'),
    limits,
    countWindowMs: 1,
    vaultExists: async () => true,
  });
  const api = cryptographyApi({ log, limits } as unknown as Parameters<typeof cryptographyApi>[0]);
  limits.admit(caller, 'use');
  const request = WrapKeyRequest.fromPartial({ name: 'vaults/kv1/keys/k1', plaintextKey: Buffer.alloc(32, 7) });
  const cause: Cause = { correlationId: 'c', causes: [], caller: caller.name };
  await assert.rejects(api.wrapKey(request, { caller, cause, peer: '127.0.0.1:1' } as Call), { reason: 'THROTTLED' });
  assert.deepEqual(request.plaintextKey, Buffer.alloc(32));
});
