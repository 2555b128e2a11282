import { isDeepStrictEqual } from 'node:util';
import { Vault_Sku as Sku, type Vault } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { JsonObject } from '@interlock/event-store';
import type { Static } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, groupName, scopeName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { armId, regionOf, requireLocation, resourceNotFound } from '../management/arm.ts';
import type { Records } from '../records/records.ts';
import { type ListRequest, pathOf, type ResourceCalls, type ResourceRequest, rowsOf } from '../resource-types/rows.ts';
import { changeVault, mergedPolicies, modelOf, othersAfter, refuseFixed, replacePolicies } from './change.ts';
import { networkRulesAfter } from './network-rules.ts';
import {
  AccessPoliciesBody,
  extrasAfter,
  noExtras,
  othersIn,
  policiesOf,
  VaultBody,
  type VaultExtras,
  VaultPatch,
  vaultBody,
  vaultType,
} from './vault-body.ts';

/** What the routes of vaults need. */
export interface VaultParts {
  readonly backends: Pick<Backends, 'keyVault'>;
  readonly names: CloudNames;
  readonly records: Records;
}

interface VaultPath {
  readonly subscription: string;
  readonly group: string;
  readonly vault: string;
}

const host = 'gateway';
const path = pathOf(vaultType, 'vault');

/** Management of vaults. */
export const vaultRoutes = (parts: VaultParts): readonly Route[] => {
  const vaults = new Vaults(parts);
  const does = {
    put: 'Creates, updates or recovers a vault',
    patch: 'Updates a vault',
    get: 'Reads a vault',
    delete: 'Deletes a vault; it can be recovered',
    list: 'vaults',
  };
  return [
    ...rowsOf({ type: vaultType, param: 'vault', does, body: VaultBody, patch: VaultPatch }, vaults),
    ...policyRoutes(vaults, parts),
  ];
};

const policyRoutes = (vaults: Vaults, { backends, names, records }: VaultParts): readonly Route[] => [
  route({
    host,
    method: 'PUT',
    path: `${path}/accessPolicies/:kind`,
    does: 'Adds, replaces or removes access policies',
    body: AccessPoliciesBody,
    handle: async ({ params, body }, caller) => {
      const kind = params.kind.toLowerCase();
      const vault = await vaults.get(params, caller);
      const given = policiesOf(body.properties.accessPolicies);
      if (kind !== 'add' && kind !== 'remove' && kind !== 'replace') {
        throw new RestError(
          400,
          'BadRequest',
          `the operation on access policies must be add, remove or replace (got "${kind.slice(0, 50)}")`,
        );
      }
      const wanted = kind === 'replace' ? given : mergedPolicies(vault.accessPolicies, given, kind);
      const changed = await replacePolicies(backends.keyVault, caller, vault, wanted);
      const before = await extrasOf(records, names, vault);
      const otherPermissions = othersAfter(before.otherPermissions, othersIn(body.properties.accessPolicies), kind);
      await vaults.keep(changed, before, { ...before, otherPermissions }, caller);
      return {
        body: {
          id: `${armId(params, vaultType, params.vault)}/accessPolicies/`,
          type: `${vaultType}/accessPolicies`,
          properties: { accessPolicies: body.properties.accessPolicies },
        },
      };
    },
  }),
];

/** Where the tags of a vault are. A vault's name is unique in the cloud. */
const recordOf = (names: CloudNames, { resourceGroup, name }: Vault): string => {
  const [, subscription = '', , group = ''] = resourceGroup.split('/');
  return armId(
    { subscription: names.subscriptions.inner(subscription), group },
    vaultType,
    name.replace('vaults/', ''),
  );
};

/** What management alone knows of the vault. */
export const extrasOf = async (records: Records, names: CloudNames, vault: Vault): Promise<VaultExtras> => {
  const record = await records.find(recordOf(names, vault));
  return { ...noExtras, ...(record?.content as Partial<VaultExtras> | undefined) };
};

type VaultGiven = Static<typeof VaultBody>;
type VaultPatchGiven = Static<typeof VaultPatch>;
type VaultRequest<Given = unknown> = ResourceRequest<Given, VaultPath>;

/** Vaults found by their ARM path. */
class Vaults implements ResourceCalls<VaultGiven, VaultPatchGiven, VaultPath> {
  readonly #parts: VaultParts;

  constructor(parts: VaultParts) {
    this.#parts = parts;
  }

  /** @returns undefined for a vault that does not exist in this group, or is deleted */
  async find({ subscription, group, vault }: VaultPath, caller: Caller): Promise<Vault | undefined> {
    const { backends, names } = this.#parts;
    const name = `vaults/${vault.toLowerCase()}`;
    const found = await ifFound(backends.keyVault.getVault({ name }, caller.as('key-vault')));
    const isHere = found?.resourceGroup.toLowerCase() === groupName(names, subscription, group).toLowerCase();
    return isHere && found?.state === 'ACTIVE' ? found : undefined;
  }

  /** @throws RestError 404 */
  async get(path: VaultPath, caller: Caller): Promise<Vault> {
    const found = await this.find(path, caller);
    if (found !== undefined) return found;
    throw resourceNotFound(path, vaultType, path.vault);
  }

  async put({ params: path, body }: VaultRequest<VaultGiven>, caller: Caller): Promise<RouteReply> {
    const { keyVault } = this.#parts.backends;
    if (body.properties.createMode?.toLowerCase() === 'recover') {
      const recovered = await keyVault.recoverVault(
        { name: `vaults/${path.vault.toLowerCase()}` },
        caller.as('key-vault'),
      );
      return { body: await this.shown(recovered, path, caller, { tags: body.tags }) };
    }
    const before = await this.find(path, caller);
    if (before === undefined) {
      const created = await this.#create(path, body, caller);
      return { status: 201, body: await this.shown(created, path, caller, { tags: {}, ...body }) };
    }
    if (body.location !== undefined && regionOf(body.location) !== before.location) {
      throw new RestError(
        409,
        'InvalidResourceLocation',
        `The resource '${path.vault}' already exists in location '${before.location}'.`,
      );
    }
    const changed = await changeVault(keyVault, caller, before, body.properties);
    return { status: 200, body: await this.shown(changed, path, caller, { tags: {}, ...body }) };
  }

  async patch({ params, body }: VaultRequest<VaultPatchGiven>, caller: Caller): Promise<RouteReply> {
    const before = await this.get(params, caller);
    const vault = await changeVault(this.#parts.backends.keyVault, caller, before, body.properties ?? {});
    return { body: await this.shown(vault, params, caller, body) };
  }

  async read({ params }: VaultRequest, caller: Caller): Promise<RouteReply> {
    return { body: await this.shown(await this.get(params, caller), params, caller) };
  }

  async remove({ params }: VaultRequest, caller: Caller): Promise<RouteReply> {
    const found = await this.find(params, caller);
    if (found === undefined) return { status: 204 };
    const { name } = found;
    await this.#parts.backends.keyVault.deleteVault({ name, confirmName: name }, caller.as('key-vault'));
    return { status: 200 };
  }

  async list(request: ListRequest, caller: Caller): Promise<RouteReply> {
    const { backends, names, records } = this.#parts;
    const asked = { parent: scopeName(names, request.params), ...pageOf(request) };
    const { vaults, nextPageToken } = await backends.keyVault.listVaults(asked, caller.as('key-vault'));
    const value = vaults.map(async (vault) => vaultBody(names, vault, await extrasOf(records, names, vault)));
    return { body: listBody(request, await Promise.all(value), nextPageToken) };
  }

  async #create({ subscription, group, vault }: VaultPath, body: VaultGiven, caller: Caller): Promise<Vault> {
    const { backends, names } = this.#parts;
    const { properties } = body;
    refuseFixed(undefined, properties);
    const request = {
      vaultId: vault,
      resourceGroup: groupName(names, subscription, group),
      location: requireLocation(body.location),
      sku: properties.sku?.name.toLowerCase() === 'premium' ? Sku.PREMIUM : Sku.STANDARD,
      // Absent means access policies (KV-71).
      permissionModel: modelOf(properties.enableRbacAuthorization === true),
      accessPolicies: policiesOf(properties.accessPolicies ?? []),
      softDeleteRetentionDays: properties.softDeleteRetentionInDays ?? 0,
      purgeProtectionEnabled: properties.enablePurgeProtection ?? false,
      networkRules: networkRulesAfter(undefined, properties),
    };
    return backends.keyVault.createVault(request, caller.as('key-vault'));
  }

  /** @param body what management keeps; absent: all stays */
  async shown(
    vault: Vault,
    path: VaultPath,
    caller: Caller,
    body: Parameters<typeof extrasAfter>[1] = {},
  ): Promise<unknown> {
    const { names, records } = this.#parts;
    const before = await extrasOf(records, names, vault);
    const extras = extrasAfter(before, body);
    await this.keep(vault, before, extras, caller);
    return vaultBody(names, vault, extras, path);
  }

  /** Stores what management keeps, unless it is the same. */
  async keep(vault: Vault, before: VaultExtras, extras: VaultExtras, caller: Caller): Promise<void> {
    const { names, records } = this.#parts;
    if (!isDeepStrictEqual(before, extras))
      await records.put(recordOf(names, vault), { ...extras } as JsonObject, caller);
  }
}
