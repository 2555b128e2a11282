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

test('the bootstrap file holds only hashes of secrets; only their owner can read the secret files', () => {
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

test('a second start opens the same identities', () => {
  const data = openDataFolder(join(folder, 'same'));
  const first = openIdentities(data, systemRandom);
  assert.deepEqual(openIdentities(data, systemRandom), first);
});

test('after an incomplete start, the next start writes secrets and hashes that match', () => {
  const data = openDataFolder(join(folder, 'again'));
  const { bootstrapFile } = openIdentities(data, systemRandom);
  rmSync(bootstrapFile);
  const { administrator } = openIdentities(data, systemRandom);
  const stored: BootstrapIdentities = JSON.parse(readFileSync(bootstrapFile, 'utf8'));
  assert.equal(stored.administrator.secretHash, hashOf(administrator.secret));
});
