import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { systemRandom as random, virtualClock } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { decodeJwt, SignJWT, UnsecuredJWT } from 'jose';
import type { CloudNames } from '../cloud/names.ts';
import { aliasesOf } from '../cloud/names.ts';
import { openAccess } from './access.ts';
import { openSigningKey, signingKeys } from './signing-key.ts';
import { openTokens, type Tokens } from './tokens.ts';

const clock = virtualClock(Date.parse('2026-01-01T00:00:00Z'));
const tenant = '11111111-1111-4111-8111-111111111111';
const names: CloudNames = {
  gateway: 'https://localhost:8443',
  vaultSuffix: 'vault.interlock.localhost:8443',
  keyUrlSuffix: 'vault.interlock.localhost',
  tenants: aliasesOf(`${tenant}=local`, 'GATEWAY_TENANTS'),
  subscriptions: aliasesOf(undefined, 'GATEWAY_SUBSCRIPTIONS'),
  challengeTenant: tenant,
};
const principal = '22222222-2222-4222-8222-222222222222';
const secret = masterKey(random.bytes(32));
const store = memoryStore({ clock });
const inner = { 'key-vault': new UnsecuredJWT({ oid: principal, tid: 'local', idtyp: 'user' }).encode() };
const vaultAudience = 'https://vault.interlock.localhost:8443';
let tokens: Tokens;

const open = async (): Promise<Tokens> => {
  const key = await openSigningKey({ keys: category(store, signingKeys), masterKey: secret, clock, random });
  return openTokens({ key, masterKey: secret, names, clock, random });
};
const admit = (token: string | undefined, use: 'vault' | 'management' = 'vault') =>
  openAccess({ tokens, names, clock, clientAddressKey: undefined })(
    use,
    token === undefined ? undefined : `Bearer ${token}`,
    { correlationId: 'c', address: '127.0.0.1' },
  );
const refused = { status: 401, code: 'Unauthorized' };

before(async () => {
  tokens = await open();
});

test('REST-82: a token names principal, tenant and audience, and carries the token of identity sealed', async () => {
  const token = await tokens.issue(vaultAudience, inner, clock.now() + 60_000);
  const { aud, oid, tid, idtyp } = decodeJwt(token);
  assert.deepEqual([aud, oid, tid, idtyp], [vaultAudience, principal, tenant, 'user']);
  assert.ok(!token.includes(inner['key-vault']));
  const caller = await admit(token);
  assert.deepEqual([caller.principal, caller.tenant], [principal, 'local']);
  assert.equal(caller.as('key-vault').token, inner['key-vault']);
  assert.throws(() => caller.as('disk'), { status: 401 });
});

test('tokens survive a restart: the signing key is stored', async () => {
  const token = await tokens.issue(vaultAudience, inner, clock.now() + 60_000);
  assert.equal((await (await open()).verify(token)).principal, principal);
});

test('KV-81: a missing, expired, unsigned, foreign or changed token, or one of another audience, is refused with 401', async () => {
  const valid = await tokens.issue(vaultAudience, inner, clock.now() + 60_000);
  const [head = '', body = '', signature = ''] = valid.split('.');
  const claims = decodeJwt(valid);
  const foreign = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(random.bytes(32));
  await assert.rejects(admit(undefined), ({ message, headers }) => {
    assert.match(message, /^AKV10000/);
    const challenge = `Bearer authorization="https://localhost:8443/${tenant}", resource="${vaultAudience}"`;
    assert.equal(headers['www-authenticate'], challenge);
    return true;
  });
  await assert.rejects(admit(valid, 'management'), { status: 401, code: 'InvalidAuthenticationToken' });
  await assert.rejects(admit(new UnsecuredJWT(claims).encode()), refused);
  await assert.rejects(admit(await foreign), refused);
  await assert.rejects(admit(`${head}.${body.slice(0, -2)}.${signature}`), refused);
  await assert.rejects(admit(`${head}.${body}.`), refused);
  const short = await tokens.issue(vaultAudience, inner, clock.now() + 1_000);
  await admit(short);
  await clock.pass(2_000);
  await assert.rejects(admit(short), ({ status, headers }) => {
    assert.equal(status, 401);
    assert.match(headers['www-authenticate'], /error="insufficient_claims", claims="/);
    return true;
  });
});
