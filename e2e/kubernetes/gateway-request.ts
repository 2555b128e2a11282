import assert from 'node:assert/strict';
import { request } from 'node:https';
import type { PodCloud } from './pod-cloud.ts';

/**
 * Uses the gateway's pod as a client of Azure: signs in, creates a vault and a key in it, and reads the key.
 * @returns URL of the key version, as in the gateway's response
 * @throws AssertionError with the first unexpected response
 */
export const readKeyThroughGateway = async (cloud: PodCloud): Promise<string> => {
  const settings = cloud.cluster.objects.find(({ metadata }) => metadata.name === 'interlock-settings')?.data ?? {};
  const uuidIn = (name: string): string => (settings[name] ?? '').split('=')[0] ?? '';
  const [tenant, subscription] = [uuidIn('GATEWAY_TENANTS'), uuidIn('GATEWAY_SUBSCRIPTIONS')];
  const { GATEWAY_URL: gateway = '', GATEWAY_VAULT_SUFFIX: suffix = '' } = settings;
  const { principalId, secret } = JSON.parse(secretOf(cloud, 'interlock-administrator', 'administrator.json'));
  const call = callerOf(cloud);
  const tokenFor = async (audience: string): Promise<string> => {
    const form = { grant_type: 'client_credentials', client_id: principalId, client_secret: secret };
    const body = new URLSearchParams({ ...form, scope: `${audience}/.default` });
    const url = `${gateway}/${tenant}/oauth2/v2.0/token`;
    return (await call('POST', url, { type: 'application/x-www-form-urlencoded', body: String(body) })).access_token;
  };

  const management = await tokenFor(gateway);
  const policy = { tenantId: tenant, objectId: principalId, permissions: { keys: ['all'] } };
  const properties = { tenantId: tenant, sku: { family: 'A', name: 'standard' }, accessPolicies: [policy] };
  const provider = `${gateway}/subscriptions/${subscription}/resourceGroups/pods/providers/Microsoft.KeyVault`;
  await call('PUT', `${provider}/vaults/kv-pods?api-version=2023-07-01`, {
    token: management,
    body: JSON.stringify({ location: 'westeurope', properties }),
  });
  const token = await tokenFor(`https://${suffix}`);
  const key = `https://kv-pods.${suffix}/keys/k1`;
  await call('POST', `${key}/create?api-version=7.5`, { token, body: JSON.stringify({ kty: 'RSA' }) });
  const { kid, kty } = (await call('GET', `${key}?api-version=7.5`, { token })).key;
  assert.equal(kty, 'RSA');
  assert.ok(kid.startsWith(`${key}/`), kid);
  return kid;
};

interface Call {
  readonly type?: string;
  readonly body?: string;
  /** Bearer token. */
  readonly token?: string;
}

/** Calls the gateway under the names in its certificate, at the address of its pod. */
const callerOf = (cloud: PodCloud) => {
  const { ip } = cloud.running.get('gateway') ?? assert.fail('the gateway does not run');
  const ca = secretOf(cloud, 'interlock-tls-client', 'ca.crt');
  return async (method: string, url: string, { type = 'application/json', body, token }: Call) => {
    const { host, hostname, port, pathname, search } = new URL(url);
    const headers = {
      host,
      'content-type': type,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    const { status, text } = await new Promise<{ readonly status: number; readonly text: string }>(
      (resolve, reject) => {
        const to = { host: ip, port, servername: hostname, path: pathname + search, method, headers, ca };
        const sent = request(to, (response) => {
          response.setEncoding('utf8');
          response
            .toArray()
            .then((pieces) => resolve({ status: response.statusCode ?? 0, text: pieces.join('') }), reject);
        });
        sent.once('error', reject);
        sent.end(body);
      },
    );
    assert.ok(status >= 200 && status < 300, `${method} ${url}: ${status} ${text}`);
    return JSON.parse(text);
  };
};

const secretOf = ({ cluster }: PodCloud, secret: string, key: string): string =>
  Buffer.from(cluster.secrets.get(secret)?.[key] ?? '', 'base64').toString();
