import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';
import type { SigningKey } from './signing-key.ts';

/** What clients request before they sign in. None of it needs a token. */
export const discoveryRoutes = (names: CloudNames, key: Pick<SigningKey, 'kid' | 'n' | 'e'>): readonly Route[] => {
  const common = { method: 'GET', host: 'gateway', access: 'public' } as const;
  const openId = (tenant: string) => ({ body: openIdConfiguration(names, tenant) });
  const keys = () => ({ body: { keys: [{ kty: 'RSA', use: 'sig', alg: 'RS256', kid: key.kid, n: key.n, e: key.e }] } });
  return [
    route({
      ...common,
      path: '/metadata/endpoints',
      does: 'Describes the cloud: an object from api-version 2022-09-01, an array before',
      handle: ({ query }) => {
        const document = metadata(names);
        return { body: (query['api-version'] ?? '') < '2022-09-01' ? [document] : document };
      },
    }),
    route({
      ...common,
      path: '/:tenant/v2.0/.well-known/openid-configuration',
      does: 'OpenID configuration of a tenant',
      handle: ({ params }) => openId(params.tenant),
    }),
    route({
      ...common,
      path: '/:tenant/.well-known/openid-configuration',
      does: 'OpenID configuration of a tenant (version 1, and ADFS)',
      handle: ({ params }) => openId(params.tenant),
    }),
    route({ ...common, path: '/:tenant/discovery/v2.0/keys', does: 'Keys that sign tokens', handle: keys }),
    route({ ...common, path: '/:tenant/discovery/keys', does: 'Keys that sign tokens (version 1)', handle: keys }),
    route({
      ...common,
      path: '/common/discovery/instance',
      does: 'Says that the gateway is an authority',
      handle: () => ({
        body: {
          tenant_discovery_endpoint: `${names.gateway}/common/v2.0/.well-known/openid-configuration`,
          'api-version': '1.1',
          metadata: [],
        },
      }),
    }),
  ];
};

const metadata = ({ gateway, vaultSuffix }: CloudNames): unknown => ({
  name: 'Interlock',
  portal: gateway,
  authentication: { loginEndpoint: gateway, audiences: [gateway], tenant: 'common', identityProvider: 'AAD' },
  resourceManager: gateway,
  graphAudience: `${gateway}/graph/`,
  microsoftGraphResourceId: `${gateway}/graph/`,
  suffixes: { keyVaultDns: vaultSuffix },
});

/** @throws RestError 400 for a text that is no tenant */
const openIdConfiguration = ({ gateway }: CloudNames, tenant: string): unknown => {
  if (!/^[a-z0-9][a-z0-9.-]{0,62}$/i.test(tenant)) {
    throw new RestError(400, 'invalid_tenant', `AADSTS90002: Tenant '${tenant.slice(0, 100)}' not found.`);
  }
  const isAdfs = tenant.toLowerCase() === 'adfs';
  const oauth = `${gateway}/${tenant}/oauth2${isAdfs ? '' : '/v2.0'}`;
  return {
    issuer: `${gateway}/${tenant}/`,
    authorization_endpoint: `${oauth}/authorize`,
    token_endpoint: `${oauth}/token`,
    device_authorization_endpoint: `${oauth}/devicecode`,
    jwks_uri: `${gateway}/${tenant}/discovery/v2.0/keys`,
    response_types_supported: ['code'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
  };
};
