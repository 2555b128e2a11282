import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore, Rejection } from '@interlock/event-store';
import { simulatedTokens, tokenVerifier } from '@interlock/rpc';
import { systemRandom as random, virtualClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { addSecret, create, principals as definition, remove } from './principal/decider.ts';
import { signingKeys } from './signing-key/decider.ts';
import { openKeyRing } from './signing-key/key-ring.ts';
import { tokenApi } from './token-api.ts';
import { hashSecret, tokenIssuer } from './tokens.ts';

test('G10: whoever asks as an identity that is gone hears since when, and the trace of what ended it', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock, random });
  const principals = category(store, definition);
  const unused = () => assert.fail('nobody gets a token here');
  const ring = { signing: unused, published: unused, rotate: unused };
  const api = tokenApi({ clock, store, principals, ring, issue: unused });
  const id = random.uuid();
  const traceId = 'ab'.repeat(16);
  const cause = { correlationId: 'c', causationId: 'c', caller: 'system:test' };
  const wish = { tenant: 'tenants/t', principalType: 'managed_identity', displayName: 'd', owner: 'des1' } as const;
  await principals.transact(id, create(clock.now(), wish), cause);
  const deletedAt = clock.now() + 5_000;
  const traceparent = `00-${traceId}-${'cd'.repeat(8)}-01`;
  await principals.transact(id, remove(deletedAt), { ...cause, traceparent });

  const asked = { principal: `principals/${id}`, audience: 'interlock:key-vault' };
  await assert.rejects(api.issueManagedIdentityToken(asked), (error) => {
    assert.ok(error instanceof Rejection);
    assert.equal(error.reason, 'IDENTITY_DELETED');
    const { since, trace_id, traceparent: told } = error.metadata;
    assert.deepEqual([since, trace_id, told], [new Date(deletedAt).toISOString(), traceId, traceparent]);
    return true;
  });
});

test('a token is taken at once by whoever has a clock that is behind', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock, random });
  const principals = category(store, definition);
  const format = simulatedTokens(random);
  const lifetimes = { userMs: 60_000, managedIdentityMs: 1_000 };
  const sealed = { masterKey: masterKey(random.bytes(32)), overlapMs: lifetimes.userMs };
  const ring = await openKeyRing({ store, keys: category(store, signingKeys), format, clock, random, ...sealed });
  const issuer = 'https://identity.test';
  const api = tokenApi({ clock, store, principals, ring, issue: tokenIssuer({ ring, clock, issuer, lifetimes }) });
  const id = random.uuid();
  const cause = { correlationId: 'c', causationId: 'c', caller: 'system:test' };
  const wish = { tenant: 'tenants/t', principalType: 'user', displayName: 'somebody' } as const;
  await principals.transact(id, create(clock.now(), wish), cause);
  await principals.transact(id, addSecret(clock.now(), 's', hashSecret('text'), undefined), cause);
  const audience = 'interlock:disk';
  const { accessToken } = await api.issueToken({ clientId: id, clientSecret: 'text', audience });
  const behind = { now: () => clock.now() - 30_000, monotonicMs: clock.monotonicMs };
  const verify = tokenVerifier({ keys: api.getJsonWebKeySet, issuer, audience, clock: behind, format });
  assert.equal((await verify(accessToken)).id, id);
});
