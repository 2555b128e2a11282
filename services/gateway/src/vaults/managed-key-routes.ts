import type { Key } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { type Static, Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, groupName, keyUrl } from '../cloud/names.ts';
import { Int32 } from '../http/int32.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, route } from '../http/route.ts';
import { attributesOf, keyItem, operationsOf, requireRsa, versionItem } from '../keys/key-bundle.ts';
import { keyOf } from '../keys/readable.ts';
import { requestIdOf } from '../keys/request-id.ts';
import { AttributesBody } from '../keys/schemas.ts';
import { armId, resourceNotFound, TagsBody } from '../management/arm.ts';
import type { VaultParts } from './routes.ts';
import { vaultType } from './vault-body.ts';

const KeyBody = Type.Object({
  tags: Type.Optional(TagsBody),
  properties: Type.Object({
    kty: Type.Optional(Type.String()),
    keySize: Type.Optional(Int32),
    keyOps: Type.Optional(Type.Array(Type.String(), { maxItems: 20 })),
    attributes: Type.Optional(AttributesBody),
  }),
});

interface KeyPath {
  readonly subscription: string;
  readonly group: string;
  readonly vault: string;
  readonly key: string;
}

const host = 'gateway';
const inVault = '/subscriptions/:subscription/resourceGroups/:group/providers/Microsoft.KeyVault/vaults/:vault/keys';
const path = `${inVault}/:key` as const;

/** Keys through management, as templates make them: with the caller's rights on keys, and never changed by a repeat. */
export const managedKeyRoutes = (
  parts: VaultParts & { readonly random: Parameters<typeof requestIdOf>[2] },
): readonly Route[] => {
  const { backends, names, random } = parts;
  const keys = new ManagedKeys(backends.keyVault, names);
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Creates a key unless it exists',
      body: KeyBody,
      handle: async (request, caller) => {
        const { params, body } = request;
        await keys.checkVault(params, caller);
        const before = await keys.find(params, caller);
        if (before === undefined) await keys.create(params, body, requestIdOf(request, caller, random), caller);
        return { body: await keys.read(params, caller) };
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Reads a key through management',
      handle: async ({ params }, caller) => ({ body: await keys.read(params, caller) }),
    }),
    route({
      host,
      method: 'GET',
      path: inVault,
      does: 'Lists keys through management',
      handle: async (request, caller) => {
        await keys.checkVault(request.params, caller);
        const asked = { parent: `vaults/${request.params.vault.toLowerCase()}`, ...pageOf(request) };
        const found = await backends.keyVault.listKeys(asked, caller.as('key-vault'));
        const value = found.keys.map((key) => keys.listed(request.params, key));
        return { body: listBody(request, value, found.nextPageToken) };
      },
    }),
    route({
      host,
      method: 'GET',
      path: `${path}/versions`,
      does: 'Lists the versions of a key through management',
      handle: async (request, caller) => {
        const key = await keys.keyOf(await keys.get(request.params, caller), caller);
        const asked = { parent: keys.nameOf(request.params), ...pageOf(request) };
        const found = await backends.keyVault.listKeyVersions(asked, caller.as('key-vault'));
        const value = found.keyVersions.map((version) => keys.shown(request.params, version, key));
        return { body: listBody(request, value, found.nextPageToken) };
      },
    }),
    route({
      host,
      method: 'GET',
      path: `${path}/versions/:version`,
      does: 'Reads a version of a key through management',
      handle: async ({ params }, caller) => ({
        body: await keys.read(params, caller, params.version),
      }),
    }),
  ];
};

class ManagedKeys {
  readonly #keyVault: Backends['keyVault'];
  readonly #names: CloudNames;

  constructor(keyVault: Backends['keyVault'], names: CloudNames) {
    this.#keyVault = keyVault;
    this.#names = names;
  }

  nameOf({ vault, key }: Pick<KeyPath, 'vault' | 'key'>): string {
    return `vaults/${vault}/keys/${key}`.toLowerCase();
  }

  /** @throws RestError 404 for a vault of another group */
  async checkVault({ subscription, group, vault }: Omit<KeyPath, 'key'>, caller: Caller): Promise<void> {
    const found = await ifFound(
      this.#keyVault.getVault({ name: `vaults/${vault.toLowerCase()}` }, caller.as('key-vault')),
    );
    const wanted = groupName(this.#names, subscription, group).toLowerCase();
    if (found?.resourceGroup.toLowerCase() !== wanted || found.state !== 'ACTIVE')
      throw resourceNotFound({ subscription, group }, vaultType, vault);
  }

  /** @returns undefined for a key or version that does not exist, or is deleted */
  find(path: KeyPath, caller: Caller, version?: string): Promise<KeyVersion | undefined> {
    const name = this.nameOf(path);
    const wanted = version === undefined ? name : `${name}/versions/${version.toLowerCase()}`;
    return ifFound(this.#keyVault.getKeyVersion({ name: wanted }, caller.as('key-vault')));
  }

  /** @throws RestError 404 */
  async get(path: KeyPath, caller: Caller, version?: string): Promise<KeyVersion> {
    const found = await this.find(path, caller, version);
    if (found !== undefined) return found;
    throw resourceNotFound(path, `${vaultType}/keys`, `${path.vault}/${path.key}`);
  }

  /** The key of a version; undefined if the caller may not read it. */
  keyOf({ name }: KeyVersion, caller: Caller): Promise<Key | undefined> {
    return keyOf({ backends: { keyVault: this.#keyVault } }, name, caller);
  }

  /** A key or version as clients read it. @throws RestError 404 */
  async read(path: KeyPath & { readonly version?: string }, caller: Caller, version?: string): Promise<unknown> {
    const found = await this.get(path, caller, version);
    return this.shown(path, found, await this.keyOf(found, caller));
  }

  async create(path: KeyPath, body: Static<typeof KeyBody>, requestId: string, caller: Caller): Promise<void> {
    const { kty = 'RSA', keySize = 0, keyOps, attributes } = body.properties;
    requireRsa(kty);
    const request = {
      parent: `vaults/${path.vault.toLowerCase()}`,
      keyId: path.key,
      keySizeBits: keySize,
      keyOperations: operationsOf(keyOps),
      attributes: attributesOf(attributes),
      tags: body.tags ?? {},
      requestId,
    };
    await this.#keyVault.createKey(request, caller.as('key-vault'));
  }

  /** A key, by one of its versions. */
  shown(path: KeyPath & { readonly version?: string }, version: KeyVersion, key: Key | undefined): unknown {
    const { attributes, tags } = versionItem(this.#names, version, key);
    const [keyUri] = keyUrl(this.#names, version.name).split(/\/[0-9a-f]{32}$/);
    const id = `${armId(path, vaultType, path.vault)}/keys/${path.key}`;
    return {
      id,
      name: path.key,
      type: `${vaultType}/keys`,
      ...(tags === undefined ? {} : { tags }),
      properties: {
        attributes,
        kty: 'RSA',
        keySize: version.keySizeBits,
        keyUri,
        keyUriWithVersion: keyUrl(this.#names, version.name),
      },
    };
  }

  listed(path: Omit<KeyPath, 'key'>, key: Key): unknown {
    const name = key.name.split('/').at(-1) ?? '';
    const { kid, attributes } = keyItem(this.#names, key);
    const id = `${armId(path, vaultType, path.vault)}/keys/${name}`;
    return { id, name, type: `${vaultType}/keys`, properties: { attributes, kty: 'RSA', keyUri: kid } };
  }
}
