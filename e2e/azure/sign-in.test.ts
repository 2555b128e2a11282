import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ResourceManagementClient } from '@azure/arm-resources';
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  type TokenCredential,
} from '@azure/identity';
import { KeyClient } from '@azure/keyvault-keys';
import { testCertificate } from '../../services/identity/src/token/test-certificate.ts';
import { type AzureCloud, azureCloud } from './test-azure-cloud.ts';
import { computeWorld } from './test-compute.ts';

let cloud: AzureCloud;
before(async () => {
  cloud = await azureCloud();
});
after(() => cloud?.stop());

const groupsOf = async (credential: TokenCredential): Promise<readonly (string | undefined)[]> => {
  const { subscription, url: endpoint } = cloud.access;
  const names = [];
  const client = new ResourceManagementClient(credential, subscription, { endpoint });
  for await (const { name } of client.resourceGroups.list()) names.push(name);
  return names;
};

/** A PEM file with private key and certificate, in the format that clients read. */
const selfSigned = async (): Promise<{ readonly file: string; readonly certificate: string }> => {
  const { certificate, privateKey } = await testCertificate(new Date(Date.now() + 86_400_000));
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', privateKey)).toString('base64');
  const file = join(cloud.test.folder, 'client.pem');
  const key = pkcs8.replaceAll(/.{64}/g, '$&\n');
  writeFileSync(file, `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n${certificate}\n`, {
    mode: 0o600,
  });
  return { file, certificate };
};

test('a client signs in with a certificate while it is registered', async () => {
  const { clientId, tenant, url } = cloud.access;
  const { identity } = cloud.test.clients;
  const { file, certificate } = await selfSigned();
  const options = { authorityHost: url, disableInstanceDiscovery: true };
  const signIn = () => groupsOf(new ClientCertificateCredential(tenant, clientId, file, options));
  await assert.rejects(signIn(), /AADSTS7000215/);
  const principal = `principals/${clientId}`;
  const { secretText, principal: shown } = await identity.addSecret({ principal, secretId: 'laptop', certificate });
  assert.equal(secretText, '');
  const { certificateThumbprint } = shown?.secrets.find(({ secretId }) => secretId === 'laptop') ?? {};
  assert.match(certificateThumbprint ?? '', /^[\w-]{43}$/);
  assert.deepEqual(await signIn(), []);
  await identity.removeSecret({ principal, secretId: 'laptop' });
  await assert.rejects(signIn(), /AADSTS7000215/);
});

test('a client of an ADFS authority signs in without setting disableInstanceDiscovery', async () => {
  const { url, clientId } = cloud.access;
  const { secret } = cloud.test.cloud.administrator;
  assert.deepEqual(await groupsOf(new ClientSecretCredential('adfs', clientId, secret, { authorityHost: url })), []);
});

test('the managed identity endpoint speaks for an identity without a role, until an administrator assigns one', async () => {
  const { loopbackUrl, loopbackClientId, clientId } = cloud.access;
  process.env.AZURE_POD_IDENTITY_AUTHORITY_HOST = loopbackUrl;
  assert.notEqual(loopbackClientId, clientId);
  await assert.rejects(groupsOf(new ManagedIdentityCredential()), /statusCode 403/);
  await cloud.test.clients.identity.createRoleAssignment({
    principal: `principals/${loopbackClientId}`,
    role: 'roles/reader',
    scope: cloud.test.cloud.administrator.subscription,
    roleAssignmentId: randomUUID(),
  });
  assert.deepEqual(await groupsOf(new ManagedIdentityCredential()), []);
  const other = new ManagedIdentityCredential({ clientId: '33333333-3333-4333-8333-333333333333' });
  await assert.rejects(groupsOf(other), /Identity not found/);
});

test("the managed identity endpoint serves App Service's format with its header only", async () => {
  const { loopbackUrl, identityHeader } = cloud.access;
  const url = `${loopbackUrl}/msi/token?api-version=2019-08-01&resource=https://management.azure.com`;
  const reply = await fetch(url, { headers: { 'x-identity-header': identityHeader } });
  const { access_token: token } = (await reply.json()) as { readonly access_token: string };
  assert.equal(token.split('.').length, 3);
  assert.equal((await fetch(url, { headers: { metadata: 'true' } })).status, 400);
  assert.equal((await fetch(`${loopbackUrl}/metadata/instance`)).status, 400);
});

/** A request whose `Host` another site's page chose: it points its own name to this machine (DNS rebinding). */
const sendAs = (host: string, options: RequestOptions): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(cloud.access.loopbackUrl);
    const sent = request({ hostname, port, ...options, headers: { host, ...options.headers } });
    sent.once('response', (reply) => resolve(reply.resume().statusCode));
    sent.once('connect', ({ statusCode }, socket) => {
      socket.destroy();
      resolve(statusCode);
    });
    sent.once('error', reject);
    sent.end();
  });

test('the loopback server refuses a Host that is no loopback name: no token, no tunnel', async () => {
  const path = '/metadata/identity/oauth2/token?resource=https://management.azure.com';
  const headers = { metadata: 'true' };
  for (const host of ['localhost', '127.0.0.1:8442', '[::1]:1'])
    assert.equal(await sendAs(host, { path, headers }), 200, host);
  for (const host of ['rebound.example.com', 'rebound.example.com:8442', 'localhost.example.com', '10.0.0.1'])
    assert.equal(await sendAs(host, { path, headers }), 403, host);
  assert.equal(await sendAs('rebound.example.com', { path: '/x' }), 403);
  assert.equal(await sendAs('localhost', { path, headers: { ...headers, 'x-forwarded-for': '10.0.0.1' } }), 400);
  const target = { method: 'CONNECT', path: new URL(cloud.access.url).host };
  assert.equal(await sendAs(target.path, target), 200);
  assert.equal(await sendAs('127.0.0.1', target), 200);
  assert.equal(await sendAs('rebound.example.com', target), 403);
});

test('a 401 for an invalid token has a claims challenge, so that the client fetches a new token', async () => {
  for (const url of [`${cloud.access.url}/subscriptions?api-version=2022-12-01`, `${cloud.access.url}/tenants`]) {
    const reply = await fetch(url, { headers: { authorization: 'Bearer a.b.c' } });
    const [, claims = ''] = /claims="([^"]+)"/.exec(reply.headers.get('www-authenticate') ?? '') ?? [];
    assert.equal(reply.status, 401);
    const { access_token: asked } = JSON.parse(Buffer.from(claims, 'base64').toString());
    assert.equal(asked.nbf.essential, true);
  }
});

// STRICT_CHALLENGE: the SDKs compare the resource that a vault's challenge names with the host of the vault. They send no token to
// a vault whose host does not end in it. `disableChallengeResourceVerification` (`verify_challenge_resource=False` in Python)
// turns that off; no test here sets it.

/** The interpreter of Azure's command line: its package brings the SDK for Python. */
const python = '/usr/bin/python3';
const hasPythonSdk = spawnSync(python, ['-c', 'import azure.identity, azure.keyvault.keys']).status === 0;
const vault = 'kv-strict';
describe('a vault that was just created', () => {
  before(async () => {
    await computeWorld({ ...cloud, ...cloud.access }).vaultWithKey(vault);
  });

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
});

test('a token stays valid after a restart of the gateway, because the signing key is stored', async () => {
  const { token } = await cloud.credential.getToken('https://management.azure.com/.default');
  const read = () =>
    fetch(`${cloud.access.url}/tenants?api-version=2022-12-01`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await read()).status, 200);
  await cloud.gateways[0]?.restart();
  assert.equal((await read()).status, 200);
});
