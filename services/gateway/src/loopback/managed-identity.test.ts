import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import type { CloudNames } from '../cloud/names.ts';
import { managedIdentity } from './managed-identity.ts';
import { isOwnName } from './proxy.ts';

const names = { gateway: 'https://localhost:8443', vaultSuffix: 'vault.interlock.localhost:8443' } as CloudNames;
const clock = virtualClock(Date.parse('2026-01-01T00:00:00Z'));
const principalId = '22222222-2222-4222-8222-222222222222';
const resource = 'https://management.azure.com/';
const metadata = { metadata: 'true' };

const endpoint = (signIn: () => Promise<never> | Promise<{ token: string; expireTime: number }>) =>
  managedIdentity({ names, clock, identity: { principalId, secret: 's' }, header: 'h', signIn });
const issues = endpoint(async () => ({ token: 'signed', expireTime: clock.now() + 600_000 }));

test('the managed identity endpoint answers in the form of IMDS and of App Service', async () => {
  const { status, body } = await issues('imds', { query: { resource, client_id: principalId }, headers: metadata });
  assert.deepEqual(
    [status, body],
    [
      200,
      {
        access_token: 'signed',
        client_id: principalId,
        expires_in: '600',
        expires_on: String(clock.now() / 1_000 + 600),
        not_before: String(clock.now() / 1_000),
        resource,
        token_type: 'Bearer',
      },
    ],
  );
  assert.equal(
    (await issues('appService', { query: { resource }, headers: { 'x-identity-header': 'h' } })).status,
    200,
  );
});

test('a request that a browser or another host could send gets no token', async () => {
  const refused = [
    { form: 'imds', headers: {} },
    { form: 'imds', headers: { ...metadata, 'x-forwarded-for': '10.0.0.1' } },
    { form: 'appService', headers: metadata },
    { form: 'appService', headers: { 'x-identity-header': 'x' } },
  ] as const;
  for (const { form, headers } of refused) {
    assert.equal((await issues(form, { query: { resource }, headers })).status, 400, JSON.stringify(headers));
  }
});

test('another identity and an unknown resource get 400, not 404: clients repeat a 404 for 18 s', async () => {
  for (const query of [
    { resource, client_id: '33333333-3333-4333-8333-333333333333' },
    { resource, msi_res_id: '/subscriptions/s' },
    { resource: 'https://example.com' },
    {},
  ]) {
    assert.equal((await issues('imds', { query, headers: metadata })).status, 400, JSON.stringify(query));
  }
  const deleted = endpoint(async () => {
    throw new Rejection('UNAUTHENTICATED', 'INVALID_CLIENT', 'no');
  });
  assert.deepEqual(await deleted('imds', { query: { resource }, headers: metadata }), {
    status: 400,
    body: { error: 'invalid_request', error_description: 'Identity not found' },
  });
});

test('the proxy connects to the gateway and its vaults, and to no other host or port', () => {
  for (const own of ['localhost:8443', 'kv1.vault.interlock.localhost:8443', 'KV1.vault.interlock.localhost:8443']) {
    assert.equal(isOwnName(names, own), true, own);
  }
  for (const other of ['example.com:443', 'localhost:22', 'localhost', 'a.b.vault.interlock.localhost:8443', '']) {
    assert.equal(isOwnName(names, other), false, other);
  }
});
