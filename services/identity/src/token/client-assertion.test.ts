import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { SignJWT, UnsecuredJWT } from 'jose';
import { readCertificate } from '../principal/certificate.ts';
import { addSecret, certificatesOf, create, evolve, hasSecret, initial } from '../principal/decider.ts';
import { isAssertionOf } from './client-assertion.ts';
import { type TestCertificate, testCertificate } from './test-certificate.ts';

const now = Date.parse('2026-06-01T00:00:00Z');
const until = new Date('2027-01-01T00:00:00Z');
const client = '22222222-2222-4222-8222-222222222222';
const authority = 'https://localhost:8443';
let own: TestCertificate;
let other: TestCertificate;

before(async () => {
  own = await testCertificate(until);
  other = await testCertificate(until);
});

const claims = { iss: client, sub: client, aud: `${authority}/t/oauth2/v2.0/token`, exp: now / 1_000 + 600 };
const sign = (changed: object = {}, { privateKey } = own) =>
  new SignJWT({ ...claims, ...changed }).setProtectedHeader({ alg: 'RS256' }).sign(privateKey);
const check = (assertion: string, audience: string | undefined = authority, at = now) =>
  isAssertionOf(assertion, client, { certificates: [other.certificate, own.certificate], audience, now: at });

test('an assertion signed by the key of a registered certificate is accepted', async () => {
  assert.equal(await check(await sign()), true);
});

test('every assertion is refused if no audience is configured', async () => {
  const certificates = [own.certificate];
  assert.equal(await isAssertionOf(await sign(), client, { certificates, audience: undefined, now }), false);
});

test('an assertion for another client, audience or time, by another key, or unsigned is refused', async () => {
  const third = await testCertificate(until);
  const refused: Readonly<Record<string, string>> = {
    'of another issuer': await sign({ iss: 'x' }),
    'about another client': await sign({ sub: 'x' }),
    'for another host': await sign({ aud: 'https://localhost:8443.example.com/t/oauth2/v2.0/token' }),
    'for several audiences': await sign({ aud: [claims.aud, 'https://example.com'] }),
    'without an audience': await sign({ aud: undefined }),
    ended: await sign({ exp: now / 1_000 - 3_600 }),
    'without an end': await sign({ exp: undefined }),
    'that lasts for years': await sign({ exp: now / 1_000 + 90_000 }),
    'not valid yet': await sign({ nbf: now / 1_000 + 3_600 }),
    'signed by another key': await sign({}, third),
    unsigned: new UnsecuredJWT(claims).encode(),
    'of another form': 'x.y.z',
  };
  for (const [what, assertion] of Object.entries(refused)) assert.equal(await check(assertion), false, what);
});

test('a certificate is stored unchanged, expires at its date, and its thumbprint is no valid secret', async () => {
  const { certificate, thumbprint, expiresAt } = readCertificate(own.certificate);
  assert.equal(expiresAt, until.getTime());
  const profile = { tenant: 'tenants/t', principalType: 'application', displayName: 'a' } as const;
  const created = create(now, profile)(initial).reduce(evolve, initial);
  const state = addSecret(now, 's', thumbprint, expiresAt, certificate)(created).reduce(evolve, created);
  assert.deepEqual(certificatesOf(state, now), [certificate]);
  assert.deepEqual(certificatesOf(state, expiresAt), []);
  assert.equal(hasSecret(state, thumbprint, now), false);
});

test('a text that is no certificate, has a short key or contains a private key is refused', async () => {
  const short = await testCertificate(until, 1_024);
  const pem = '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n';
  for (const text of ['', 'x', `${pem}${own.certificate}`, short.certificate, 'x'.repeat(20_000)]) {
    assert.throws(() => readCertificate(text), { reason: 'CERTIFICATE_INVALID' });
  }
});
