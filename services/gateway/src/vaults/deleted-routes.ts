import type { Vault } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { Rejection } from '@interlock/event-store';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';
import { extrasOf, type VaultParts } from './routes.ts';
import { deletedVaultBody } from './vault-body.ts';

const host = 'gateway';
const provider = '/subscriptions/:subscription/providers/Microsoft.KeyVault';
const path = `${provider}/locations/:location/deletedVaults/:vault` as const;

/** Deleted vaults, their purge, and what clients ask about vaults besides. */
export const deletedVaultRoutes = (parts: VaultParts): readonly Route[] => [
  ...readingRoutes(parts),
  ...purgeRoutes(parts),
  ...otherRoutes(parts),
];

const readingRoutes = ({ backends, names, records }: VaultParts): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path: `${provider}/deletedVaults`,
    does: 'Lists deleted vaults',
    handle: async ({ params }, caller) => {
      const parent = `subscriptions/${names.subscriptions.inner(params.subscription)}`;
      const options = caller.as('key-vault');
      const deleted: Vault[] = [];
      let pageToken = '';
      do {
        const page = await backends.keyVault.listVaults(
          { parent, showDeleted: true, pageSize: 1_000, pageToken },
          options,
        );
        deleted.push(...page.vaults.filter(({ state }) => state === 'DELETED'));
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
      const value = deleted.map(async (vault) => deletedVaultBody(names, vault, await extrasOf(records, names, vault)));
      return { body: { value: await Promise.all(value) } };
    },
  }),
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a deleted vault',
    handle: async ({ params }, caller) => {
      const vault = await getDeleted(backends, params.vault, caller);
      return { body: deletedVaultBody(names, vault, await extrasOf(records, names, vault)) };
    },
  }),
];

const getDeleted = async ({ keyVault }: VaultParts['backends'], vault: string, caller: Caller): Promise<Vault> => {
  try {
    const found = await keyVault.getVault({ name: `vaults/${vault.toLowerCase()}` }, caller.as('key-vault'));
    if (found.state === 'DELETED') return found;
  } catch (error) {
    if (!(error instanceof Rejection) || error.code !== 'NOT_FOUND') throw error;
  }
  throw new RestError(
    404,
    'DeletedVaultNotFound',
    `The specified deleted vault '${vault.slice(0, 100)}' does not exist.`,
  );
};

const purgeRoutes = ({ backends, names }: VaultParts): readonly Route[] => [
  route({
    host,
    method: 'POST',
    path: `${path}/purge`,
    does: 'Purges a deleted vault',
    handle: async ({ params, query }, caller) => {
      const { name } = await getDeleted(backends, params.vault, caller);
      await backends.keyVault.purgeVault({ name, confirmName: name }, caller.as('key-vault'));
      const { subscription, location, vault } = params;
      const result = `/subscriptions/${subscription}/providers/Microsoft.KeyVault/locations/${location}/operationResults/${vault}`;
      const version = encodeURIComponent(query['api-version'] ?? '');
      return {
        status: 202,
        headers: { location: `${names.gateway}${result}?api-version=${version}`, 'retry-after': '1' },
      };
    },
  }),
  route({
    host,
    method: 'GET',
    path: `${provider}/locations/:location/operationResults/:operation`,
    does: 'Result of a purge: it has ended by then',
    handle: () => ({ body: { status: 'Succeeded' } }),
  }),
];

const otherRoutes = (_parts: VaultParts): readonly Route[] => {
  const none = {
    host,
    method: 'GET',
    does: 'Lists managed HSMs: there are none',
    handle: () => ({ body: { value: [] } }),
  } as const;
  return [
    route({ ...none, path: `${provider}/managedHSMs` }),
    route({ ...none, path: `${provider}/deletedManagedHSMs` }),
    route({
      ...none,
      path: '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.KeyVault/managedHSMs',
    }),
  ];
};
