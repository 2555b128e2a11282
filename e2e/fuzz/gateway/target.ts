import type { TokenCredential } from '@azure/identity';
import type { FuzzTarget } from './requests.ts';
import type { Vocabulary } from './schema-values.ts';

/** A gateway and its caller. */
export interface FuzzAccess {
  readonly url: string;
  /** Host and port that follow the name of a vault. */
  readonly vaultSuffix: string;
  readonly tenant: string;
  readonly subscription: string;
  readonly clientId: string;
}

/** The target of the fuzzer's requests, with tokens of the caller. */
export const fuzzTarget = async (access: FuzzAccess, credential: TokenCredential): Promise<FuzzTarget> => {
  const tokenFor = async (resource: string): Promise<string> =>
    (await credential.getToken(`${resource}/.default`))?.token ?? '';
  return {
    host: new URL(access.url).host,
    vaultHost: `{vault}.${access.vaultSuffix}`,
    vocabulary: vocabularyOf(access),
    tokens: {
      management: await tokenFor('https://management.azure.com'),
      vault: await tokenFor('https://vault.azure.net'),
      directory: await tokenFor(`${access.url}/graph`),
    },
  };
};

/** Names that match one another, so that some requests succeed and later ones find what they created. */
const vocabularyOf = (access: FuzzAccess): Vocabulary => {
  const { subscription, tenant, clientId } = access;
  const group = `/subscriptions/${subscription}/resourceGroups/g1/providers`;
  const compute = `${group}/Microsoft.Compute`;
  const template = { type: 'Microsoft.Network/virtualNetworks', apiVersion: '2023-11-01', name: 'v1' };
  return {
    known: ['a', 'g1', 'd1', 'k1', 'westeurope', '1', 'true', `${compute}/disks/d1`, "[parameters('a')]"],
    byName: {
      subscription: [subscription],
      tenant: [tenant, 'adfs', 'common'],
      tenantId: [tenant],
      group: ['g1', 'g2'],
      vault: ['kv1', 'kv2', 'kv3'],
      key: ['k1', 'k2', 'k3'],
      location: ['westeurope'],
      objectId: [clientId],
      principalId: [clientId],
      id: [`${compute}/disks/d1`, `${compute}/diskEncryptionSets/s1`, '11111111-1111-4111-8111-111111111111'],
      roleDefinitionId: ['acdd72a7-3385-48ef-bd42-f606fba81ae7'],
      kty: ['RSA'],
      alg: ['RSA-OAEP-256', 'RS256', 'RSA-OAEP', 'PS256'],
      value: ['AAAA', 'c2VjcmV0'],
      digest: ['A'.repeat(43)],
      keys: ['all', 'get', 'wrapKey', 'purge'],
      key_ops: ['wrapKey', 'unwrapKey', 'sign'],
      name: ['a', 'standard', 'Premium_LRS', template.name],
      namespace: ['Microsoft.KeyVault', 'Microsoft.Compute'],
      type: ['vaults', 'disks', template.type, 'string', 'SystemAssigned'],
      apiVersion: [template.apiVersion],
      mode: ['Incremental'],
      kind: ['add', 'remove', 'replace'],
      createMode: ['default', 'recover'],
      createOption: ['Empty', 'Copy', 'Attach'],
      diskEncryptionSetId: [`${compute}/diskEncryptionSets/s1`],
      sourceResourceId: [`${compute}/disks/d1`],
      keyUrl: ['https://kv1.vault.interlock.localhost/keys/k1'],
      grant_type: ['client_credentials'],
      client_id: [clientId],
      scope: ['https://management.azure.com/.default'],
      ids: [clientId],
    },
  };
};
