import assert from 'node:assert/strict';
import { request } from 'node:https';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { SignJWT, UnsecuredJWT } from 'jose';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';

let cloud: AzurePlace;
let management: string;
let vaultToken: string;

before(async () => {
  cloud = await azurePlace();
  ({ token: management } = await cloud.credential.getToken('https://management.azure.com/.default'));
  ({ token: vaultToken } = await cloud.credential.getToken('https://vault.azure.net/.default'));
});
after(() => cloud?.close());

/** A request as it is on the wire: its path and headers are sent unchanged. */
interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly host?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

interface Answer {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const send = ({ method = 'GET', path, host, headers = {}, body }: Sent): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { port } = new URL(cloud.url);
    const sent = request(
      {
        host: 'localhost',
        port,
        method,
        path,
        servername: 'localhost',
        headers: { host: host ?? `localhost:${port}`, authorization: `Bearer ${management}`, ...headers },
      },
      (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        reply.on('end', () => {
          const { error = {} } = text.startsWith('{') ? JSON.parse(text) : {};
          resolve({ status: reply.statusCode ?? 0, code: error.code ?? '', message: error.message ?? '' });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });

const subscription = (): string => `/subscriptions/${cloud.subscription}`;
const version = '?api-version=2024-11-01';
const json = { 'content-type': 'application/json' };
const group = (): string => `${subscription()}/resourceGroups/g1`;

/** Each wrong request, with the status and code of the response. */
const wrongRequests = (): Readonly<Record<string, readonly [Sent, number, string]>> => ({
  'without api-version': [{ path: group() }, 400, 'MissingApiVersionParameter'],
  'api-version of another form': [{ path: `${group()}?api-version=latest` }, 400, 'InvalidApiVersionParameter'],
  'unknown provider': [
    { path: `${group()}/providers/Microsoft.Nothing/things/x${version}` },
    404,
    'InvalidResourceType',
  ],
  'unknown type': [{ path: `${group()}/providers/Microsoft.KeyVault/things/x${version}` }, 404, 'InvalidResourceType'],
  'unknown path': [{ path: '/nothing' }, 404, 'NotFound'],
  'unknown method': [{ method: 'LOCK', path: group() }, 404, 'NotFound'],
  'host of no vault': [{ path: '/keys', host: 'example.com' }, 404, 'HostNotFound'],
  'oversize body': [
    { method: 'PUT', path: `${group()}${version}`, headers: json, body: `{"a":"${'x'.repeat(1_100_000)}"}` },
    413,
    'RequestEntityTooLarge',
  ],
  'malformed JSON': [
    { method: 'PUT', path: `${group()}${version}`, headers: json, body: '{"a":}' },
    400,
    'InvalidRequestContent',
  ],
  'body nested deep': [
    { method: 'PUT', path: `${group()}${version}`, headers: json, body: '['.repeat(900_000) },
    400,
    'InvalidRequestContent',
  ],
  'body of another shape': [
    { method: 'PUT', path: `${group()}${version}`, headers: json, body: '{"location":1}' },
    400,
    'InvalidRequestContent',
  ],
  'number that no service can hold': [
    {
      method: 'POST',
      path: '/keys/k1/create?api-version=7.4',
      host: `kv1.${cloud.names.vaultSuffix}`,
      headers: { ...json, authorization: `Bearer ${vaultToken}` },
      body: '{"kty":"RSA","key_size":2147483648}',
    },
    400,
    'BadParameter',
  ],
  'no body': [{ method: 'PUT', path: `${group()}${version}`, headers: json }, 400, 'InvalidRequestContent'],
  'wrong content type': [
    { method: 'PUT', path: `${group()}${version}`, headers: { 'content-type': 'text/plain' }, body: 'x' },
    415,
    'UnsupportedMediaType',
  ],
  'parent folders': [{ path: `${subscription()}/../../metadata/endpoints${version}` }, 404, 'NotFound'],
  'encoded parent folders': [{ path: `${subscription()}/%2e%2e/%2e%2e/x${version}` }, 404, 'NotFound'],
  'encoded slash in a name': [
    { path: `${subscription()}/resourceGroups/a%2Fproviders${version}` },
    404,
    'ResourceGroupNotFound',
  ],
  'too many headers': [
    { path: group(), headers: { 'x-large': 'x'.repeat(40_000) } },
    431,
    'RequestHeaderFieldsTooLarge',
  ],
  'malformed escape': [{ path: `${subscription()}/resourceGroups/%zz${version}` }, 400, 'InvalidRequestContent'],
  'NUL in a name': [{ path: `${subscription()}/resourceGroups/a%00b${version}` }, 400, 'InvalidRequestContent'],
});

test("each wrong request gets Azure's status and code, and the gateway keeps serving", async () => {
  for (const [what, [sent, status, code]] of Object.entries(wrongRequests())) {
    const answer = await send(sent);
    assert.deepEqual([answer.status, answer.code], [status, code], `${what}: ${answer.message}`);
  }
  assert.match(
    (await send({ method: 'PUT', path: `${group()}${version}`, headers: json, body: '{"a":}' })).message,
    /offset 5/,
  );
});

/** Bodies without a member that they must have, by its path. */
const incomplete = (): Readonly<Record<string, Sent>> => {
  const at = (path: string, body: unknown, method = 'PUT'): Sent => ({
    method,
    path: `${group()}/providers/${path}${version}`,
    headers: json,
    body: JSON.stringify(body),
  });
  const location = 'westeurope';
  const set = 'Microsoft.Compute/diskEncryptionSets/des1';
  const identity = { type: 'SystemAssigned' };
  const disk = 'Microsoft.Compute/disks/d1';
  const policy = { tenantId: cloud.tenant, permissions: {} };
  return {
    'properties.activeKey': at(set, { location, identity, properties: {} }),
    'properties.activeKey.keyUrl': at(set, { location, identity, properties: { activeKey: { sourceVault: {} } } }),
    'properties.activeKey.keyUrl ': at(set, { location, identity, properties: { activeKey: { keyUrl: null } } }),
    'properties.activeKey.keyUrl  ': at(set, { location, identity, properties: { activeKey: { keyUrl: '' } } }),
    'properties.creationData': at(disk, { location, properties: { diskSizeGB: 4 } }),
    'properties.creationData.createOption': at(disk, { location, properties: { creationData: {}, diskSizeGB: 4 } }),
    properties: at('Microsoft.KeyVault/vaults/kv-new', { location }),
    'properties.accessPolicies[0].objectId': at('Microsoft.KeyVault/vaults/kv-new/accessPolicies/add', {
      properties: { accessPolicies: [policy] },
    }),
    'properties.principalId': at('Microsoft.Authorization/roleAssignments/33333333-3333-4333-8333-333333333333', {
      properties: { roleDefinitionId: 'x' },
    }),
    access: at(`${disk}/beginGetAccess`, { durationInSeconds: 60 }, 'POST'),
  };
};

test('a body without a required member is refused with the path of that member', async () => {
  await send({ method: 'PUT', path: `${group()}${version}`, headers: json, body: '{"location":"westeurope"}' });
  for (const [member, sent] of Object.entries(incomplete())) {
    const { status, message } = await send(sent);
    assert.equal(status, 400, `${member}: ${message}`);
    assert.ok(message.includes(member.trim()), `${member}: ${message}`);
  }
});

test('a token that is missing, unsigned, forged or for another audience gets 401', async () => {
  const key = new TextEncoder().encode('x'.repeat(32));
  const claims = {
    aud: cloud.url,
    oid: cloud.place.credentials.id,
    sub: 'x',
    uti: 'x',
    xms_inner: 'x',
    exp: 9_999_999_999,
  };
  const tokens: Readonly<Record<string, string>> = {
    none: '',
    'no bearer': 'Basic eDp5',
    'no token': 'Bearer x',
    'alg none': `Bearer ${new UnsecuredJWT(claims).encode()}`,
    'alg none with a signature': `Bearer ${new UnsecuredJWT(claims).encode()}c2ln`,
    'signed with a shared secret': `Bearer ${await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(key)}`,
    'of a vault': `Bearer ${vaultToken}`,
    'changed payload': `Bearer ${management.replace(/\.[^.]+\./, `.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`)}`,
  };
  for (const [what, authorization] of Object.entries(tokens)) {
    const { status, code } = await send({ path: `${subscription()}${version}`, headers: { authorization } });
    assert.equal(status, 401, what);
    assert.match(code, /^(AuthenticationFailed|InvalidAuthenticationToken)$/, what);
  }
});

test('extra slashes and the case of a path do not matter', async () => {
  const wanted = await send({ path: `${subscription()}${version}` });
  assert.equal(wanted.status, 200);
  for (const path of [
    `//subscriptions//${cloud.subscription}/${version}`,
    `${subscription().toUpperCase()}${version}`,
  ]) {
    assert.equal((await send({ path })).status, 200, path);
  }
});

test('a client that sends its request slowly, or no HTTP, does not delay others', async () => {
  const { port, hostname: host } = new URL(cloud.url);
  const options = { host, port: Number(port), rejectUnauthorized: false };
  const dripping = connectTls(options, () => dripping.write('PUT / HTTP/1.1\r\nhost: loc'));
  const wild = connect({ host, port: Number(port) }, () => wild.write('\0'.repeat(100)));
  const early = connectTls(options, () => early.end('\r\n\r\nGET\r\n\r\n'));
  for (const socket of [dripping, wild, early]) socket.on('error', () => undefined);
  try {
    for (let n = 0; n < 20; n += 1) assert.equal((await send({ path: `${subscription()}${version}` })).status, 200);
  } finally {
    for (const socket of [dripping, wild, early]) socket.destroy();
  }
});
