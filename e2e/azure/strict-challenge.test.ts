import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { KeyClient } from '@azure/keyvault-keys';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';
import { computeWorld } from './test-compute.ts';

// STRICT_CHALLENGE: the SDKs compare the resource that a vault's challenge names with the host of the vault. They send no token to
// a vault whose host does not end in it. `disableChallengeResourceVerification` (`verify_challenge_resource=False` in Python)
// turns that off; no test here sets it.

/** The interpreter of Azure's command line: its package brings the SDK for Python. */
const python = '/usr/bin/python3';
const hasPythonSdk = spawnSync(python, ['-c', 'import azure.identity, azure.keyvault.keys']).status === 0;
const vault = 'kv-strict';
let cloud: AzureCloud;

before(async () => {
  cloud = await azureCloud();
  await computeWorld({ ...cloud, ...cloud.access }).vaultWithKey(vault);
});
after(() => cloud?.stop());

test('STRICT_CHALLENGE: the SDK for JavaScript accepts the challenge of a vault without an option', async () => {
  const keys = new KeyClient(cloud.vaultUrl(vault), cloud.credential);
  assert.equal((await keys.getKey('k1')).name, 'k1');
});

test('STRICT_CHALLENGE: the SDK for Python accepts the challenge of a vault without an option', {
  skip: hasPythonSdk ? false : 'the SDK for Python is not installed: apt-get install azure-cli',
}, async () => {
  const { url, tenant, clientId, authorityFile, loopbackUrl } = cloud.access;
  const inherited = Object.entries(process.env).filter(([name]) => name.toLowerCase() !== 'no_proxy');
  const env = {
    ...Object.fromEntries(inherited),
    TENANT: tenant,
    CLIENT_ID: clientId,
    CLIENT_SECRET: cloud.test.cloud.administrator.secret,
    GATEWAY_URL: url,
    VAULT_URL: cloud.vaultUrl(vault),
    REQUESTS_CA_BUNDLE: authorityFile,
    HTTPS_PROXY: loopbackUrl,
  };
  const script = join(import.meta.dirname, 'strict-challenge.py');
  const { stdout } = await promisify(execFile)(python, [script], { env, timeout: 60_000 });
  assert.equal(stdout.trim(), '0123456789abcdef0123456789abcdef');
});

test('STRICT_CHALLENGE: with another GATEWAY_VAULT_SUFFIX than that of the host, the SDK sends no token', async () => {
  const { port } = new URL(cloud.access.url);
  // The challenge of a gateway behind another name, at the host that the client calls.
  const challenge = `Bearer authorization="${cloud.access.url}/${cloud.access.tenant}", resource="https://vault.elsewhere.example:${port}"`;
  const sent: (string | undefined)[] = [];
  const keys = new KeyClient(cloud.vaultUrl(vault), cloud.credential, {
    additionalPolicies: [
      {
        position: 'perRetry',
        policy: {
          name: 'suffix of another gateway',
          async sendRequest(request, next) {
            sent.push(request.headers.get('authorization'));
            const reply = await next(request);
            if (reply.status === 401) reply.headers.set('www-authenticate', challenge);
            return reply;
          },
        },
      },
    ],
  });
  await assert.rejects(keys.getKey('k1'), /challenge resource .*vault\.elsewhere\.example.* does not match/);
  assert.deepEqual(sent, [undefined]);
});
