import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { after, before, test } from 'node:test';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import type { TokenSource } from '@interlock/rpc';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

/** How long identity's answers are cached: longer than its process needs to end, also on a busy machine. */
const authzTtlMs = 4_000;
/** Tokens of managed identities live this long. */
const managedIdentityMs = 1_000;
let world: VaultCloud;
before(async () => {
  world = await startVaultCloud({ authzTtlMs, managedIdentityMs });
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';

const setUp = async () => {
  const identity = await world.newManagedIdentity();
  const parent = await newVault(world);
  const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
  const accessPolicy = { principal: identity.name, keyPermissions: [...keyPermissions] };
  await world.vault().setAccessPolicy({ name: parent, accessPolicy });
  const { name } = await world.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() });
  const refused: string[] = [];
  /** A client of key-vault with this token. */
  const withToken = (token: string) => {
    const credentials: TokenSource = { token: async () => token, refused: (_, bad) => refused.push(bad) };
    return world.cloud.as(world.administrator).client('key-vault', KeyVaultServiceDefinition, { credentials });
  };
  const disk = world.cloud.as(world.disk).client('identity', IdentityServiceDefinition);
  const issue = async () => {
    const asked = { principal: identity.name, audience: 'interlock:key-vault' };
    return (await disk.issueManagedIdentityToken(asked)).accessToken;
  };
  return { identity, parent, name, withToken, issue };
};

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const claimsOf = (token: string): object => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
const headerOf = (token: string): object => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());

test('KV-81: every kind of forged token is refused with TOKEN_SIGNATURE_INVALID, and the call has no effect', async () => {
  const { name, parent, withToken, issue } = await setUp();
  const real = await issue();
  const administrator = { ...claimsOf(real), oid: world.administrator.id, sub: world.administrator.id, idtyp: 'app' };
  const [header = '', , signature = ''] = real.split('.');
  const own = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const signed = `${part(headerOf(real))}.${part(administrator)}`;
  const forged = {
    'claims of another principal under the old signature': `${header}.${part(administrator)}.${signature}`,
    'signed with a key of the forger': `${signed}.${sign('sha256', Buffer.from(signed), own).toString('base64url')}`,
    'without a signature': `${part({ alg: 'none', typ: 'JWT' })}.${part(administrator)}.`,
    'under a key that was not published': `${part({ ...headerOf(real), kid: randomUUID() })}.${part(administrator)}.${signature}`,
  };
  for (const [how, token] of Object.entries(forged)) {
    await assert.rejects(
      withToken(token).disableKeyVersion({ name }),
      { code: 'UNAUTHENTICATED', reason: 'TOKEN_SIGNATURE_INVALID' },
      how,
    );
  }
  assert.equal((await world.vault().getKeyVersion({ name })).enabled, true);
  const { auditEntries } = await world.vault().listAuditEntries({ parent, operation: 'Authentication' });
  assert.deepEqual(
    auditEntries.map(({ reason }) => reason),
    Object.keys(forged).map(() => 'TOKEN_SIGNATURE_INVALID'),
  );
});

test('KV-81: a token is refused at another service, after it expires, and after its identity is deleted', async () => {
  const { name, identity, withToken, issue } = await setUp();
  const token = await issue();
  await withToken(token).checkAccess({ keyVersion: name });
  const credentials: TokenSource = { token: async () => token, refused: () => {} };
  const elsewhere = world.cloud.as(world.administrator).client('identity', IdentityServiceDefinition, { credentials });
  await assert.rejects(elsewhere.listRoles({}), { code: 'UNAUTHENTICATED', reason: 'TOKEN_WRONG_AUDIENCE' });
  const forIdentity = await world.identity.issueToken({
    clientId: world.administrator.id,
    clientSecret: world.administrator.secret,
    audience: 'interlock:identity',
  });
  await assert.rejects(withToken(forIdentity.accessToken).checkAccess({ keyVersion: name }), {
    code: 'UNAUTHENTICATED',
    reason: 'TOKEN_WRONG_AUDIENCE',
  });
  await until(() =>
    withToken(token)
      .checkAccess({ keyVersion: name })
      .then(
        () => false,
        (error: Rejection) => error.code === 'UNAUTHENTICATED' && error.reason === 'TOKEN_EXPIRED',
      ),
  );
  const last = await issue();
  await world.identity.deletePrincipal({ name: identity.name, confirmName: identity.name });
  await assert.rejects(issue(), { code: 'FAILED_PRECONDITION', reason: 'IDENTITY_DELETED' });
  // The token is still valid, but its identity is deleted: refused at the latest when identity's cached answer expires.
  await until(() =>
    withToken(last)
      .checkAccess({ keyVersion: name })
      .then(
        () => false,
        (error: Rejection) => error.reason === 'IDENTITY_DELETED',
      ),
  );
});

test('G1: without identity, its last answer counts for authzTtl; then calls are neither granted nor refused', async () => {
  const { name, parent } = await setUp();
  const { secret, id, name: principal } = await world.newPrincipal();
  const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
  const other = world.vault({ id, name: principal, secret });
  await world
    .vault()
    .setAccessPolicy({ name: parent, accessPolicy: { principal, keyPermissions: [...keyPermissions] } });
  const wrap = () => other.wrapKey({ name, algorithm, plaintextKey: Buffer.alloc(32, 1) }, { deadlineMs: 1_000 });
  await wrap();
  const askedAt = performance.now();
  await world.cloud.stop('identity');
  const outcomes: { readonly code: string; readonly atMs: number }[] = [];
  while (outcomes.filter(({ code }) => code !== 'OK').length < 3) {
    const atMs = performance.now() - askedAt;
    const code = await wrap().then(
      () => 'OK',
      (error: unknown) => (error instanceof Rejection ? error.code : 'no answer'),
    );
    outcomes.push({ code, atMs });
  }
  await world.cloud.start('identity');
  assert.equal(outcomes[0]?.code, 'OK');
  for (const { code, atMs } of outcomes) {
    assert.ok(code === 'OK' || code === 'UNAVAILABLE' || code === 'no answer', code);
    if (code === 'OK') assert.ok(atMs < authzTtlMs, `a yes ${atMs} ms after identity was last asked`);
  }
  await until(() =>
    wrap().then(
      () => true,
      () => false,
    ),
  );
});
