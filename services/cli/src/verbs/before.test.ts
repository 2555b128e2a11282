import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { type Answers, testProgram } from '../session/test-session.ts';

const other = 'principals/00000000-0000-4000-8000-0000000000bb';
const person = 'principals/00000000-0000-4000-8000-0000000000aa';
const version = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';
const vault = {
  name: 'vaults/kv1',
  etag: '7',
  accessPolicies: [
    { principal: other, keyPermissions: ['ALL'] },
    { principal: person, keyPermissions: ['GET', 'LIST'] },
  ],
};
const grant = ['vault', 'grant', 'kv1', '--principal', person, '--permissions', 'get,wrap-key'];

/** The last request of a command line, and the methods it called. */
const sentBy = async (answers: Answers, ...args: readonly string[]) => {
  const { run, sent } = testProgram(answers);
  await run(...args);
  return { request: sent.at(-1)?.request ?? {}, methods: sent.map(({ method }) => method) };
};

test('CMK-25: vault grant --replace replaces the permissions of a principal', async () => {
  const { request, methods } = await sentBy({ GetVault: vault, SetAccessPolicy: vault }, ...grant, '--replace');
  assert.deepEqual(methods, ['GetVault', 'SetAccessPolicy']);
  assert.deepEqual(request, {
    name: 'vaults/kv1',
    accessPolicy: { principal: person, keyPermissions: ['GET', 'WRAP_KEY'] },
  });
});

test('vault grant keeps the permissions of the policy that was read', async () => {
  const answers = { GetVault: vault, SetAccessPolicy: vault };
  const { request } = await sentBy(answers, ...grant);
  assert.deepEqual(request, {
    name: 'vaults/kv1',
    etag: '7',
    accessPolicy: { principal: person, keyPermissions: ['GET', 'LIST', 'WRAP_KEY'] },
  });
  const whole = ['vault', 'grant', 'kv1', '--principal', other, '--permissions', 'get'];
  const all = await sentBy(answers, ...whole);
  assert.deepEqual(all.request.accessPolicy, { principal: other, keyPermissions: ['ALL'] });
  const denied = { GetVault: new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no') };
  await assert.rejects(sentBy(denied, ...grant), { reason: 'ACCESS_DENIED' });
});

test('key set-dates keeps a date that is not given; --clear removes it', async () => {
  const dated = { name: version, notBefore: '2026-01-01T00:00:00Z', expireTime: '2027-01-01T00:00:00Z', etag: '3' };
  const dates = ['key', 'set-dates', version];
  const kept = await sentBy({ GetKeyVersion: dated }, ...dates, '--expire-time', '2028-01-01T00:00:00Z');
  assert.deepEqual(kept.request, {
    name: version,
    notBefore: dated.notBefore,
    expireTime: '2028-01-01T00:00:00Z',
    etag: '3',
  });
  const cleared = await sentBy({}, ...dates, '--expire-time', '2028-01-01T00:00:00Z', '--clear');
  assert.deepEqual(cleared.methods, ['SetKeyVersionDates']);
  const both = await sentBy({}, ...dates, '--not-before', 'now', '--expire-time', '+90d');
  assert.deepEqual(both.methods, ['SetKeyVersionDates']);
  await assert.rejects(sentBy({ GetKeyVersion: dated }, ...dates), /missing --not-before or --expire-time or --clear/);
});
