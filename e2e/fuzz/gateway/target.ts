import type { TokenCredential } from '@azure/identity';
import { estateNames, ownerGroup, ownerKey, vaultOf } from './owner.ts';
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
  const group = `/subscriptions/${subscription}/resourceGroups/${ownerGroup}/providers`;
  const compute = `${group}/Microsoft.Compute`;
  const idsOf = (type: string): readonly string[] => estateNames.map((name) => `${compute}/${type}/${name}`);
  const template = { type: 'Microsoft.Network/virtualNetworks', apiVersion: '2023-11-01', name: 'v1' };
  return {
    known: ['a', 'g2', ...estateNames, ownerKey, 'westeurope', '1', 'true', `${compute}/disks/e1`, "[parameters('a')]"],
    byName: {
      subscription: [subscription],
      tenant: [tenant, 'adfs', 'common'],
      tenantId: [tenant],
      group: [ownerGroup, ownerGroup, ownerGroup, 'g2'],
      vault: estateNames.map(vaultOf),
      key: [ownerKey, ownerKey, 'k2'],
      location: ['westeurope'],
      objectId: [clientId],
      principalId: [clientId],
      id: [...idsOf('disks'), ...idsOf('diskEncryptionSets'), '11111111-1111-4111-8111-111111111111'],
      roleDefinitionId: ['acdd72a7-3385-48ef-bd42-f606fba81ae7'],
      kty: ['RSA'],
      alg: ['RSA-OAEP-256', 'RS256', 'RSA-OAEP', 'PS256'],
      value: ['AAAA', 'c2VjcmV0'],
      digest: ['A'.repeat(43)],
      keys: ['all', 'get', 'wrapKey', 'purge'],
      key_ops: ['wrapKey', 'unwrapKey', 'sign'],
      name: [...estateNames, 'a', 'standard', 'Premium_LRS', template.name],
      namespace: ['Microsoft.KeyVault', 'Microsoft.Compute'],
      type: ['vaults', 'disks', template.type, 'string', 'SystemAssigned'],
      apiVersion: [template.apiVersion],
      mode: ['Incremental'],
      kind: ['add', 'remove', 'replace'],
      createMode: ['default', 'recover'],
      createOption: ['Empty', 'Copy', 'Attach'],
      diskEncryptionSetId: idsOf('diskEncryptionSets'),
      sourceResourceId: idsOf('disks'),
      keyUrl: estateNames.map((name) => `https://${vaultOf(name)}.${access.vaultSuffix}/keys/${ownerKey}`),
      grant_type: ['client_credentials'],
      client_id: [clientId],
      scope: ['https://management.azure.com/.default'],
      ids: [clientId],
    },
  };
};
