import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock as clock, systemRandom as random } from '@interlock/runtime';
import { cachingAuthorizer } from './authorizer.ts';
import { type CallFields, runAsCall } from './call.ts';
import { simulatedTokens } from './simulated-tokens.ts';
import { type Echo, principalNamed, transports } from './test-echo.ts';
import { tokenSource } from './token-source.ts';
import { tokenVerifier } from './tokens.ts';

/** A running call whose caller waits for `timeoutMs`. */
const callWithin = (timeoutMs: number): CallFields => {
  const caller = principalNamed('user-1');
  const endMs = clock.monotonicMs() + timeoutMs;
  return {
    caller,
    cause: { correlationId: 'c', causes: [], caller: caller.name },
    requestId: 'r',
    deadline: clock.now() + timeoutMs,
    remainingMs: () => endMs - clock.monotonicMs(),
  };
};

let identity: Echo;
/** Calls a service whose response takes longer than the caller's short deadline. */
const ask = () => identity.client.change({ text: '' });
before(async () => {
  identity = await transports['in process']({
    handlers: {
      change: async (word) => {
        await clock.sleep(200);
        return word;
      },
    },
  });
});
after(() => identity.close());

const sharedRequests: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
  'a token': async () => {
    const issue = async () => {
      await ask();
      return { token: 't', expireTime: clock.now() + 600_000 };
    };
    const tokens = tokenSource({ clock, issue });
    return async () => tokens.token('a');
  },
  'a permission': async () => {
    const check = async () => {
      await ask();
      return { allowed: true, principalActive: true };
    };
    const { authorize } = cachingAuthorizer({ check, clock, authzTtlMs: 1_000 });
    return () => authorize(principalNamed('user-1'), 'read', '/');
  },
  'the keys that tokens are signed with': async () => {
    const format = simulatedTokens(random);
    const { n, e, pkcs8 } = await format.newKey();
    const now = Math.floor(clock.now() / 1_000);
    const who = { sub: 'p1', oid: 'p1', tid: 't1', idtyp: 'user' };
    const claims = { ...who, iss: 'i', aud: 'a', iat: now, nbf: now, exp: now + 600 };
    const token = await format.openKey(pkcs8)('k1', claims);
    const keys = async () => {
      await ask();
      return { keys: [{ kty: 'RSA', n, e, kid: 'k1', alg: 'RS256', use: 'sig' }] };
    };
    const authenticate = tokenVerifier({ keys, issuer: 'i', audience: 'a', clock, format });
    return async () => authenticate(token);
  },
};

for (const [what, open] of Object.entries(sharedRequests)) {
  test(`a caller with a short deadline does not cancel a request that callers share: ${what}`, async () => {
    const get = await open();
    const hurried = runAsCall(callWithin(20), get);
    const patient = runAsCall(callWithin(5_000), get);
    const [, outcome] = await Promise.allSettled([hurried, patient]);
    assert.equal(outcome.status, 'fulfilled', String(outcome.status === 'rejected' && outcome.reason));
  });
}
