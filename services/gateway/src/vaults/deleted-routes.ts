import type { Vault } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { scopeName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, refusedRoute, route } from '../http/route.ts';
import { extrasOf, type VaultParts } from './routes.ts';
import { deletedVaultBody } from './vault-body.ts';

const host = 'gateway';
const provider = '/subscriptions/:subscription/providers/Microsoft.KeyVault';
const path = `${provider}/locations/:location/deletedVaults/:vault` as const;

/** Deleted vaults, their purge, and what else clients request about vaults. */
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
      const parent = scopeName(names, params);
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

/** A vault that the caller may not read also holds its name. */
const isNameTaken = async ({ keyVault }: VaultParts['backends'], name: string, caller: Caller): Promise<boolean> => {
  try {
    return (
      (await ifFound(keyVault.getVault({ name: `vaults/${name.toLowerCase()}` }, caller.as('key-vault')))) !== undefined
    );
  } catch (error) {
    if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return true;
    throw error;
  }
};

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

const NameBody = Type.Object({ name: Type.String(), type: Type.Optional(Type.String()) });
const validName = /^(?!.*--)[a-z][a-z0-9-]{1,22}[a-z0-9]$/i;

const otherRoutes = ({ backends }: VaultParts): readonly Route[] => {
  const none = {
    host,
    method: 'GET',
    does: 'Lists managed HSMs: there are none',
    handle: () => ({ body: { value: [] } }),
  } as const;
  return [
    route({
      host,
      method: 'POST',
      path: `${provider}/checkNameAvailability`,
      does: 'Says whether a vault can have a name',
      body: NameBody,
      handle: async ({ body: { name } }, caller) => {
        if (!validName.test(name)) {
          const message =
            'A vault name has 3 to 24 letters, digits and hyphens, begins with a letter, and ends with a letter or digit.';
          return { body: { nameAvailable: false, reason: 'AccountNameInvalid', message } };
        }
        const isTaken = await isNameTaken(backends, name, caller);
        const message = `The vault name '${name}' is already in use, perhaps by a deleted vault that can be recovered.`;
        return { body: isTaken ? { nameAvailable: false, reason: 'AlreadyExists', message } : { nameAvailable: true } };
      },
    }),
    refusedRoute({
      host,
      method: 'POST',
      path: `${provider}/checkMhsmNameAvailability`,
      does: 'Says whether a managed HSM can have a name',
      refusedBecause: 'There is no HSM.',
    }),
    route({ ...none, path: `${provider}/managedHSMs` }),
    route({ ...none, path: `${provider}/deletedManagedHSMs` }),
    route({
      ...none,
      path: '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.KeyVault/managedHSMs',
    }),
  ];
};
