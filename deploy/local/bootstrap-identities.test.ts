import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { type BootstrapIdentities, openIdentities } from './bootstrap-identities.ts';
import { openDataFolder } from './data-folder.ts';
import { serviceNames } from './services.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const hashOf = (text: string) => createHash('sha256').update(text).digest('base64url');

test('the file holds hashes of the secrets and none of the secrets, which are for their owner only', () => {
  const data = openDataFolder(join(folder, 'hashes'));
  const { administrator, bootstrapFile, workloads } = openIdentities(data, systemRandom);
  const text = readFileSync(bootstrapFile, 'utf8');
  const stored: BootstrapIdentities = JSON.parse(text);
  assert.equal(stored.administrator.secretHash, hashOf(administrator.secret));
  assert(!text.includes(administrator.secret));
  for (const service of serviceNames) {
    const { principalId, secretFile, masterKeyFile } = workloads[service];
    const secret = readFileSync(secretFile, 'utf8');
    const found = stored.workloads.find((workload) => workload.service === service);
    assert.deepEqual(found, { service, principalId, secretHash: hashOf(secret) });
    assert(!text.includes(secret));
    assert.equal(statSync(secretFile).mode & 0o777, 0o600);
    assert.equal(statSync(masterKeyFile).mode & 0o777, 0o600);
    assert.equal(statSync(masterKeyFile).size, 32);
  }
  assert.equal(stored.administrator.principalId, stored.roleAssignments[0]?.principalId);
});

test('the same at every start', () => {
  const data = openDataFolder(join(folder, 'same'));
  const first = openIdentities(data, systemRandom);
  assert.deepEqual(openIdentities(data, systemRandom), first);
});

test('a start that was cut short is begun again, with secrets and hashes that fit', () => {
  const data = openDataFolder(join(folder, 'again'));
  const { bootstrapFile } = openIdentities(data, systemRandom);
  rmSync(bootstrapFile);
  const { administrator } = openIdentities(data, systemRandom);
  const stored: BootstrapIdentities = JSON.parse(readFileSync(bootstrapFile, 'utf8'));
  assert.equal(stored.administrator.secretHash, hashOf(administrator.secret));
});
