import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { AuthorizationManagementClient } from '@azure/arm-authorization';
import { ComputeManagementClient } from '@azure/arm-compute';
import { KeyVaultManagementClient } from '@azure/arm-keyvault';
import type { TokenCredential } from '@azure/identity';
import { KeyClient } from '@azure/keyvault-keys';

/** The role that the identity of a set needs on a vault: Key Vault Crypto Service Encryption User (CMK-26). */
const encryptionUser = 'e147488a-f6f5-4113-8e2d-b22465e65bf6';

/** Azure's clients for one gateway, and the steps that many tests share. */
export interface ComputeWorld {
  readonly group: string;
  readonly location: string;
  readonly compute: ComputeManagementClient;
  readonly vaults: KeyVaultManagementClient;
  readonly authorization: AuthorizationManagementClient;
  /** Creates a vault with roles and purge protection, and a key in it. */
  vaultWithKey(vault: string, key?: string): Promise<VaultWithKey>;
  /** Creates a set under a key and gives its identity the role on the vault. */
  grantedSet(name: string, key: VaultWithKey): Promise<GrantedSet>;
  /** Gives a principal the role on a vault. @returns id of the assignment */
  grant(vaultId: string, principalId: string): Promise<string>;
  /** Path of a resource of a body. */
  id(type: string, name: string): string;
}

/** A vault and its key. */
export interface VaultWithKey {
  readonly vaultId: string;
  readonly keys: KeyClient;
  readonly key: string;
  readonly keyUrl: string;
}

/** A set whose identity may use its key. */
export interface GrantedSet {
  readonly id: string;
  readonly principalId: string;
  /** Id of the role assignment. */
  readonly assignment: string;
}

/** A gateway and its caller. */
export interface GatewayForTests {
  readonly url: string;
  readonly subscription: string;
  readonly tenant: string;
  readonly credential: TokenCredential;
  readonly vaultUrl: (vault: string) => string;
}

/** Opens the clients. */
export const computeWorld = (gateway: GatewayForTests, group = 'G1'): ComputeWorld => {
  const { url: endpoint, subscription, tenant, credential, vaultUrl } = gateway;
  const compute = new ComputeManagementClient(credential, subscription, { endpoint });
  const vaults = new KeyVaultManagementClient(credential, subscription, { endpoint });
  const authorization = new AuthorizationManagementClient(credential, subscription, { endpoint });
  const location = 'westeurope';
  const id = (type: string, name: string) =>
    `/subscriptions/${subscription}/resourceGroups/${group}/providers/${type}/${name}`;
  const grant = async (vaultId: string, principalId: string): Promise<string> => {
    const roleDefinitionId = `/subscriptions/${subscription}/providers/Microsoft.Authorization/roleDefinitions/${encryptionUser}`;
    const assignment = randomUUID();
    await authorization.roleAssignments.create(vaultId, assignment, {
      roleDefinitionId,
      principalId,
      principalType: 'ServicePrincipal',
    });
    return assignment;
  };
  return {
    group,
    location,
    compute,
    vaults,
    authorization,
    grant,
    id,
    async vaultWithKey(vault, key = 'k1') {
      const properties = {
        tenantId: tenant,
        sku: { family: 'A', name: 'standard' },
        enableRbacAuthorization: true,
        enablePurgeProtection: true,
      } as const;
      const { id: vaultId = '' } = await vaults.vaults.createOrUpdate(group, vault, { location, properties });
      const keys = new KeyClient(vaultUrl(vault), credential);
      const { id: keyUrl = '' } = await keys.createRsaKey(key, { keySize: 2048 });
      return { vaultId, keys, key, keyUrl };
    },
    async grantedSet(name, { vaultId, keyUrl }) {
      const set = await compute.diskEncryptionSets.createOrUpdate(group, name, {
        location,
        identity: { type: 'SystemAssigned' },
        activeKey: { keyUrl, sourceVault: { id: vaultId } },
      });
      const principalId = set.identity?.principalId ?? '';
      return { id: set.id ?? '', principalId, assignment: await grant(vaultId, principalId) };
    },
  };
};

/** All items of a paged list. */
export const listed = async <Item>(list: AsyncIterable<Item>): Promise<readonly Item[]> => {
  const items: Item[] = [];
  for await (const item of list) items.push(item);
  return items;
};

/** The code of a refusal: of a response, or of an operation that failed later. SDKs throw a different error for each. */
export const codeOf = ({ code, message }: { readonly code?: string; readonly message: string }): string | undefined =>
  code ?? /long-running operation has failed\. (\w+)\./.exec(message)?.[1];

/** For `assert.rejects`: a refusal with this code, however long the work took until it was refused. */
export const refusedAs =
  (code: string, words = /./) =>
  (error: { readonly code?: string; readonly message: string }): boolean => {
    assert.equal(codeOf(error), code, error.message);
    assert.match(error.message, words);
    return true;
  };
