import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore, Rejection, StoreUnavailable } from '@interlock/event-store';
import { simulatedTokens, tokenVerifier } from '@interlock/rpc';
import { systemRandom as random, virtualClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { addSecret, create, principals as definition, remove } from '../principal/decider.ts';
import { signingKeys } from '../signing-key/decider.ts';
import { openKeyRing } from '../signing-key/key-ring.ts';
import { tokenApi } from './token-api.ts';
import { type TokenRates, tokenLimit } from './token-limit.ts';
import { hashSecret, tokenIssuer } from './tokens.ts';

test('G10: the refusal of a deleted identity has the time and trace of the deletion', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const principals = category(store, definition);
  const unused = () => assert.fail('no token is issued here');
  const ring = { signing: unused, published: unused, rotate: unused };
  const api = tokenApi({ clock, store, principals, ring, issue: unused, limit: tokenLimit({}, clock) });
  const id = random.uuid();
  const traceId = 'ab'.repeat(16);
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const request = { tenant: 'tenants/t', principalType: 'managed_identity', displayName: 'd', owner: 'des1' } as const;
  await principals.transact(id, create(clock.now(), request), cause);
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

test('a new token is accepted by a verifier whose clock is behind', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const principals = category(store, definition);
  const format = simulatedTokens(random);
  const lifetimes = { userMs: 60_000, managedIdentityMs: 1_000 };
  const sealed = { masterKey: masterKey(random.bytes(32)), overlapMs: lifetimes.userMs };
  const ring = await openKeyRing({ store, keys: category(store, signingKeys), format, clock, random, ...sealed });
  const issuer = 'https://identity.test';
  const api = tokenApi({
    clock,
    store,
    principals,
    ring,
    issue: tokenIssuer({ ring, clock, issuer, lifetimes }),
    limit: tokenLimit({}, clock),
  });
  const id = random.uuid();
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'a user' } as const;
  await principals.transact(id, create(clock.now(), request), cause);
  await principals.transact(id, addSecret(clock.now(), 's', hashSecret('text'), undefined), cause);
  const audience = 'interlock:disk';
  const { accessToken } = await api.issueToken(
    { clientId: id, clientSecret: 'text', audience },
    { peer: '127.0.0.1:1' },
  );
  const behind = { now: () => clock.now() - 30_000, monotonicMs: clock.monotonicMs };
  const verify = tokenVerifier({ keys: api.getJsonWebKeySet, issuer, audience, clock: behind, format });
  assert.equal((await verify(accessToken)).id, id);
});

/** The API with limits, over a store that counts how often it is read, and a principal with the secret `right`. */
const limited = async (rates: TokenRates) => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const principals = category(store, definition);
  const id = random.uuid();
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'a user' } as const;
  await principals.transact(id, create(clock.now(), request), cause);
  await principals.transact(id, addSecret(clock.now(), 's', hashSecret('right'), undefined), cause);
  const counts = { read: 0, signed: 0 };
  let isStoreAway = false;
  const unused = () => assert.fail('no key is needed');
  const api = tokenApi({
    clock,
    store,
    principals: {
      ...principals,
      async load(principal) {
        counts.read += 1;
        if (isStoreAway) throw new StoreUnavailable('away', { cause: undefined });
        return principals.load(principal);
      },
    },
    ring: { signing: unused, published: unused, rotate: unused },
    issue: async () => {
      counts.signed += 1;
      return { token: 'signed', expireTime: clock.now() + 1_000 };
    },
    limit: tokenLimit(rates, clock),
  });
  const ask = (clientSecret: string, peer = '10.0.0.1:4711') =>
    api.issueToken({ clientId: id, clientSecret, audience: 'interlock:disk' }, { peer });
  return {
    clock,
    counts,
    ask,
    storeAway: (away: boolean) => {
      isStoreAway = away;
    },
  };
};

/** The wait in a refusal for too many calls. */
const waitOf = async (asked: Promise<unknown>): Promise<number> => {
  const error = await asked.then(
    () => assert.fail('it was let in'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Rejection);
  assert.deepEqual([error.code, error.reason], ['RESOURCE_EXHAUSTED', 'THROTTLED']);
  return Number(error.metadata.retryAfterMs);
};

test('KV-95: failed calls of an address above the limit are refused before the store is read, from any port', async () => {
  const { clock, counts, ask } = await limited({ failures: { perSecond: 1, burst: 3 } });
  for (let port = 1; port <= 3; port += 1) {
    await assert.rejects(ask('wrong', `10.0.0.1:${port}`), { reason: 'INVALID_CLIENT' });
  }
  assert.equal(counts.read, 3);
  const waitMs = await waitOf(ask('wrong', '10.0.0.1:4'));
  assert.deepEqual([counts.read, waitMs], [3, 1_000]);
  // Neither another address nor the principal itself is locked out by that.
  assert.equal((await ask('right', '10.0.0.2:1')).accessToken, 'signed');
  await clock.pass(waitMs);
  assert.equal((await ask('right', '10.0.0.1:5')).accessToken, 'signed');
});

test('KV-95: correct secrets and store outages do not count as failures of an address', async () => {
  const { ask, storeAway } = await limited({ failures: { perSecond: 1, burst: 1 } });
  for (let count = 0; count < 5; count += 1) await ask('right');
  storeAway(true);
  for (let count = 0; count < 5; count += 1) await assert.rejects(ask('right'), StoreUnavailable);
  storeAway(false);
  await ask('right');
});

test('KV-95: tokens of a principal above the limit are refused before they are signed', async () => {
  const { clock, counts, ask } = await limited({ principal: { perSecond: 2, burst: 2 } });
  await ask('right');
  await ask('right');
  const waitMs = await waitOf(ask('right'));
  assert.deepEqual([counts.signed, waitMs], [2, 500]);
  await clock.pass(waitMs);
  await ask('right');
});
