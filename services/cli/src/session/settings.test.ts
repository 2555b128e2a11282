import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { NoCloud, UsageError } from '../problems.ts';
import { withoutEmpty } from './environment.ts';
import { readSettings } from './settings.ts';

const data = mkdtempSync(join(tmpdir(), 'interlock-cli-'));
after(() => rmSync(data, { recursive: true }));
const addresses = {
  identity: 'a:1',
  'key-vault': 'a:2',
  'disk-encryption-set': 'a:3',
  disk: 'a:4',
  compute: 'a:5',
};
const principalId = '00000000-0000-4000-8000-000000000001';
const authorityFile = join(data, 'ca.pem');
const administratorFile = join(data, 'administrator.json');
const cloudFile = join(data, 'cloud.json');
writeFileSync(authorityFile, 'pem');

function write(): void {
  const administrator = { principalId, secret: 's', tenant: 'tenants/local', subscription: 'subscriptions/local' };
  writeFileSync(administratorFile, JSON.stringify(administrator));
  writeFileSync(cloudFile, JSON.stringify({ addresses, authorityFile, administratorFile, spans: 'http://x/y' }));
}

test('without a cloud, the error says how to start one', () => {
  assert.throws(
    () => readSettings({ data }, {}),
    (error) => error instanceof NoCloud && /npm run up/.test(error.message),
  );
});

test('addresses and credentials come from the files of the launcher', () => {
  write();
  assert.deepEqual(readSettings({ data, group: 'g' }, {}), {
    data,
    addresses,
    authority: 'pem',
    client: undefined,
    credentials: { principal: principalId, secret: 's' },
    tenant: 'tenants/local',
    names: { subscription: 'subscriptions/local', group: 'g' },
    namesWithoutFlags: { subscription: 'subscriptions/local', group: undefined },
    tracesEndpoint: 'http://x/y/v1/traces',
  });
});

test('an empty setting of the environment is ignored, except INTERLOCK_SPANS', () => {
  const settings = { INTERLOCK_GROUP: '', INTERLOCK_NAMESPACE: '', INTERLOCK_DISK_ADDRESS: '', INTERLOCK_AS: '' };
  assert.deepEqual(withoutEmpty({ ...settings, INTERLOCK_TENANT: 't', INTERLOCK_SPANS: '', OTHER: '' }), {
    INTERLOCK_TENANT: 't',
    INTERLOCK_SPANS: '',
    OTHER: '',
  });
});

test('flags override the environment, and the environment overrides the files', () => {
  write();
  const secretFile = join(data, 'bob.secret');
  writeFileSync(secretFile, 'other\n');
  const bob = '00000000-0000-4000-8000-000000000002';
  const env = {
    INTERLOCK_AS: `principals/${bob}:${secretFile}`,
    INTERLOCK_DISK_ADDRESS: 'b:4',
    INTERLOCK_SUBSCRIPTION: 's2',
  };
  const settings = readSettings({ data, subscription: 's3' }, env);
  assert.deepEqual(settings.credentials, { principal: bob, secret: 'other' });
  const tokenFile = join(data, 'tokens.json');
  writeFileSync(tokenFile, '{"disk":"a.b.c"}\n');
  const { credentials } = readSettings({ data, as: `${bob}:${tokenFile}` }, env);
  assert.deepEqual(credentials, { principal: bob, tokens: { disk: 'a.b.c' } });
  assert.equal(settings.addresses.disk, 'b:4');
  assert.equal(settings.names.subscription, 'subscriptions/s3');
  const grouped = readSettings({ data, subscription: 's3', group: 'h' }, { ...env, INTERLOCK_GROUP: 'g' });
  assert.deepEqual(grouped.namesWithoutFlags, { subscription: 'subscriptions/s2', group: 'g' });
  assert.throws(() => readSettings({ data, as: 'bob' }, env), UsageError);
  assert.throws(() => readSettings({ data, as: `${bob}:${data}/none` }, env), /cannot be read/);
});

test('a certificate of the caller and its key must be given together', () => {
  write();
  const env = { INTERLOCK_CERTIFICATE_FILE: authorityFile };
  assert.throws(() => readSettings({ data }, env), /need each other/);
  const settings = readSettings({ data }, { ...env, INTERLOCK_KEY_FILE: authorityFile });
  assert.deepEqual(settings.client, { certificate: 'pem', key: 'pem' });
});

test('an error names a malformed file', () => {
  write();
  writeFileSync(cloudFile, '{');
  assert.throws(() => readSettings({ data }, {}), /cloud\.json is not JSON/);
});
