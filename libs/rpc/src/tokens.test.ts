import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { seededRandom } from '@interlock/runtime';
import { type JSONWebKeySet, type JWTPayload, SignJWT } from 'jose';
import { RpcFailure } from './rpc-failure.ts';
import { simulatedTokens } from './simulated-tokens.ts';
import { manualClock } from './test-clock.ts';
import { rs256, type TokenFormat } from './token-format.ts';
import { tokenVerifier } from './tokens.ts';

const ISSUER = 'https://identity.interlock';
const AUDIENCE = 'interlock:key-vault';
const START_S = manualClock().now() / 1_000;
const GOOD: JWTPayload = {
  iss: ISSUER,
  aud: AUDIENCE,
  sub: 'p1',
  oid: 'p1',
  tid: 't1',
  idtyp: 'user',
  iat: START_S,
  nbf: START_S,
  exp: START_S + 600,
};

/** A signing key: its public form, and a function that signs with it. */
interface Signer {
  readonly jwk: JSONWebKeySet['keys'][number];
  sign(changes?: Readonly<Record<string, unknown>>): Promise<string>;
}

async function signer(format: TokenFormat, kid: string): Promise<Signer> {
  const { n, e, pkcs8 } = await format.newKey();
  const sign = format.openKey(pkcs8);
  pkcs8.fill(0);
  return {
    jwk: { kty: 'RSA', n, e, kid, alg: 'RS256', use: 'sig' },
    sign: (changes = {}) => sign(kid, { ...GOOD, ...changes }),
  };
}

const formats = { RS256: rs256, 'the simulation': simulatedTokens(seededRandom(1)) };
for (const [name, format] of Object.entries(formats)) {
  let first: Signer;
  let second: Signer;
  before(async () => {
    [first, second] = await Promise.all([signer(format, 'k1'), signer(format, 'k2')]);
  });

  const verifier = (published: () => readonly Signer[] = () => [first]) => {
    const clock = manualClock();
    let fetches = 0;
    const authenticate = tokenVerifier({
      keys: async () => {
        fetches += 1;
        return { keys: published().map(({ jwk }) => jwk) };
      },
      issuer: ISSUER,
      audience: AUDIENCE,
      clock,
      format,
    });
    const verify = async (token: string) => authenticate(token);
    return { verify, clock, fetches: () => fetches };
  };

  describe(`bearer tokens of ${name}`, () => {
    test('a valid token names its principal', async () => {
      const { verify } = verifier();
      assert.deepEqual(await verify(await first.sign()), {
        kind: 'user',
        id: 'p1',
        name: 'principals/p1',
        tenant: 't1',
      });
      const workload = await verify(await first.sign({ idtyp: 'workload', workload: 'disk' }));
      assert.equal(workload.kind === 'workload' && workload.workload, 'disk');
    });

    for (const [name, changes, reason] of [
      ['another audience', { aud: 'interlock:disk' }, 'TOKEN_WRONG_AUDIENCE'],
      ['another issuer', { iss: 'https://elsewhere' }, 'TOKEN_WRONG_ISSUER'],
      ['an expiry in the past', { exp: START_S - 2 }, 'TOKEN_EXPIRED'],
      ['a start in the future', { nbf: START_S + 2 }, 'TOKEN_NOT_YET_VALID'],
      ['no expiry', { exp: undefined }, 'TOKEN_MALFORMED'],
      ['no start', { nbf: undefined }, 'TOKEN_MALFORMED'],
      ['no audience', { aud: undefined }, 'TOKEN_MALFORMED'],
      ['sub and oid that differ', { oid: 'p2' }, 'TOKEN_MALFORMED'],
      ['no tenant', { tid: undefined }, 'TOKEN_MALFORMED'],
      ['an unknown kind', { idtyp: 'robot' }, 'TOKEN_MALFORMED'],
      ['a workload without a name', { idtyp: 'workload' }, 'TOKEN_MALFORMED'],
    ] as const) {
      test(`${name}: ${reason} (KV-81)`, async () => {
        const { verify } = verifier();
        await assert.rejects(verify(await first.sign(changes)), refused(reason));
      });
    }

    test('text that is no token: TOKEN_MALFORMED', async () => {
      const { verify } = verifier();
      for (const text of ['', 'abc', 'a.b.c', `${'e30.'.repeat(2)}x`])
        await assert.rejects(verify(text), refused('TOKEN_MALFORMED'));
    });

    test('a changed payload: TOKEN_SIGNATURE_INVALID', async () => {
      const { verify } = verifier();
      const [header, , signature] = (await first.sign()).split('.');
      const payload = Buffer.from(JSON.stringify({ ...GOOD, sub: 'p2', oid: 'p2' })).toString('base64url');
      await assert.rejects(verify(`${header}.${payload}.${signature}`), refused('TOKEN_SIGNATURE_INVALID'));
    });

    test('another algorithm, or none: TOKEN_SIGNATURE_INVALID', async () => {
      const { verify } = verifier();
      const hmac = await new SignJWT(GOOD).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(Buffer.alloc(32, 1));
      await assert.rejects(verify(hmac), refused('TOKEN_SIGNATURE_INVALID'));
      const [, payload] = hmac.split('.');
      const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
      await assert.rejects(verify(none), refused('TOKEN_SIGNATURE_INVALID'));
    });

    test('a token that was verified before is refused once it expires', async () => {
      const { verify, clock } = verifier();
      const token = await first.sign({ exp: START_S + 10 });
      await verify(token);
      clock.advance(10_999);
      await verify(token);
      clock.advance(1);
      await assert.rejects(verify(token), refused('TOKEN_EXPIRED'));
    });

    test('an expiry with a fraction of a second is exact, also for a token seen for the first time', async () => {
      const { verify, clock } = verifier();
      const token = await first.sign({ exp: START_S + 10.25 });
      clock.advance(11_249);
      await verify(token);
      clock.advance(1);
      const again = verifier();
      again.clock.advance(11_250);
      for (const ask of [verify, again.verify]) await assert.rejects(ask(token), refused('TOKEN_EXPIRED'));
    });
  });

  describe(`keys that verify bearer tokens of ${name}`, () => {
    test('a token with an unknown key causes a new fetch of the keys, but not soon after the last one', async () => {
      let published = [first];
      const { verify, clock, fetches } = verifier(() => published);
      await verify(await first.sign());
      const token = await second.sign();
      await assert.rejects(verify(token), refused('TOKEN_SIGNATURE_INVALID'));
      assert.equal(fetches(), 1);
      published = [first, second];
      clock.advance(10_000);
      assert.equal((await verify(token)).id, 'p1');
      assert.equal(fetches(), 2);
      await Promise.all([1, 2, 3].map(async () => verify(await first.sign())));
      assert.equal(fetches(), 2);
    });

    test('if two keys are added one second apart, tokens of each are accepted a second later', async () => {
      const third = await signer(format, 'k3');
      const published = [first];
      const { verify, clock } = verifier(() => published);
      await verify(await first.sign());
      for (const fresh of [second, third]) {
        published.push(fresh);
        clock.advance(1_000);
        assert.equal((await verify(await fresh.sign())).id, 'p1');
      }
    });

    test('a withdrawn key stops verifying once the keys are fetched again', async () => {
      let published = [first, second];
      const { verify, clock } = verifier(() => published);
      const token = await second.sign({ exp: START_S + 86_400 });
      await verify(token);
      published = [first];
      clock.advance(600_000);
      await assert.rejects(verify(token), refused('TOKEN_SIGNATURE_INVALID'));
    });

    test('if the keys cannot be fetched, the token is not refused, and the next check fetches again', async () => {
      let isDown = true;
      const authenticate = tokenVerifier({
        keys: async () => {
          if (isDown) throw new RpcFailure('UNAVAILABLE', 'Identity/GetJsonWebKeySet', 'peer', 'down');
          return { keys: [first.jwk] };
        },
        issuer: ISSUER,
        audience: AUDIENCE,
        clock: manualClock(),
        format,
      });
      const token = await first.sign();
      await assert.rejects(async () => authenticate(token), RpcFailure);
      isDown = false;
      await authenticate(token);
    });

    test('a token with an unknown key is refused only after the keys were fetched again', async () => {
      let isDown = false;
      const { verify, clock } = verifier(() => {
        if (!isDown) return [first, second];
        throw new RpcFailure('UNAVAILABLE', 'Identity/GetJsonWebKeySet', 'peer', 'down');
      });
      await verify(await first.sign());
      const stranger = await (await signer(format, 'k3')).sign();
      clock.advance(10_000);
      isDown = true;
      for (const _ of [1, 2]) await assert.rejects(verify(stranger), RpcFailure);
      await verify(await first.sign({ tid: 't2' }));
      isDown = false;
      clock.advance(10_000);
      for (const _ of [1, 2]) await assert.rejects(verify(stranger), refused('TOKEN_SIGNATURE_INVALID'));
    });
  });
}

const refused = (reason: string) => (error: unknown) => {
  assert.ok(error instanceof Rejection, String(error));
  assert.equal(`${error.code} ${error.reason}`, `UNAUTHENTICATED ${reason}`);
  return true;
};
