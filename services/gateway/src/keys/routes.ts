import type { Random } from '@interlock/runtime';
import type { Static } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, route } from '../http/route.ts';
import { attributesOf, deletion, keyBundle, keyItem, operationsOf, requireRsa, versionItem } from './key-bundle.ts';
import { currentOf, keyOf, keyShown, versionShown } from './readable.ts';
import { requestIdOf } from './request-id.ts';
import { CreateKeyBody, ImportKeyBody, RestoreKeyBody, UpdateKeyBody } from './schemas.ts';
import { updateVersion } from './update.ts';

/** What the routes of keys need. */
export interface KeyParts {
  readonly backends: Pick<Backends, 'keyVault'>;
  readonly names: CloudNames;
  readonly random: Random;
}

const vaultName = (vault: string): string => `vaults/${vault}`;

/** `vaults/<v>/keys/<k>[/versions/<version>]`; without version the current one. */
export const versionOf = (params: {
  readonly vault: string;
  readonly key: string;
  readonly version?: string;
}): string => {
  const key = `vaults/${params.vault}/keys/${params.key}`.toLowerCase();
  return params.version === undefined ? key : `${key}/versions/${params.version.toLowerCase()}`;
};

/** Keys of a vault: the data plane without cryptography. */
export const keyRoutes = (parts: KeyParts): readonly Route[] => [
  ...makingRoutes(parts),
  ...rotationRoutes(parts),
  ...listRoutes(parts),
  ...readingRoutes(parts),
  ...updateRoutes(parts),
  ...deletionRoutes(parts),
  ...deletedRoutes(parts),
  ...backupRoutes(parts),
];

const vault = { host: 'vault' } as const;

const makingRoutes = ({ backends, names, random }: KeyParts): readonly Route[] => [
  route({
    ...vault,
    method: 'POST',
    path: '/:vault/keys/:key/create',
    does: 'Creates a key, or a new version of it',
    body: CreateKeyBody,
    handle: async (asked, caller) => {
      const { params, body } = asked;
      requireRsa(body.kty);
      refuseExponent(body);
      const created = await backends.keyVault.createKey(
        {
          parent: vaultName(params.vault),
          keyId: params.key,
          keySizeBits: body.key_size ?? 0,
          keyOperations: operationsOf(body.key_ops),
          attributes: attributesOf(body.attributes),
          tags: body.tags ?? {},
          requestId: requestIdOf(asked, caller, random),
        },
        caller.as('key-vault'),
      );
      return { body: await versionShown({ backends, names }, created, caller) };
    },
  }),
  route({
    ...vault,
    method: 'PUT',
    path: '/:vault/keys/:key',
    does: 'Imports a key, or a new version of it',
    body: ImportKeyBody,
    handle: async (asked, caller) => {
      const { params, body } = asked;
      requireRsa(body.key.kty);
      if (body.Hsm === true || body.hsm === true)
        throw new RestError(400, 'BadParameter', 'Hsm must be false: there is no HSM here');
      const imported = await backends.keyVault.importKey(
        {
          parent: vaultName(params.vault),
          keyId: params.key,
          keyMaterial: { $case: 'jwkJson', value: JSON.stringify(body.key) },
          keyOperations: operationsOf(body.key.key_ops),
          attributes: attributesOf(body.attributes),
          tags: body.tags ?? {},
          requestId: requestIdOf(asked, caller, random),
        },
        caller.as('key-vault'),
      );
      return { body: await versionShown({ backends, names }, imported, caller) };
    },
  }),
];

const rotationRoutes = ({ backends, names, random }: KeyParts): readonly Route[] => [
  route({
    ...vault,
    method: 'POST',
    path: '/:vault/keys/:key/rotate',
    does: 'Makes a new version of a key',
    handle: async (asked, caller) => {
      const request = { name: versionOf(asked.params), requestId: requestIdOf(asked, caller, random) };
      const rotated = await backends.keyVault.rotateKey(request, caller.as('key-vault'));
      return { body: await versionShown({ backends, names }, rotated, caller) };
    },
  }),
];

/** @throws RestError 400 BadParameter */
const refuseExponent = ({ public_exponent: exponent }: Static<typeof CreateKeyBody>): void => {
  if (exponent === undefined || exponent === 65_537) return;
  throw new RestError(400, 'BadParameter', `public_exponent must be 65537 (got ${exponent})`);
};

const listRoutes = ({ backends, names }: KeyParts): readonly Route[] => {
  const { keyVault } = backends;
  return [
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/keys',
      does: 'Lists keys',
      handle: async (request, caller) => {
        const parent = vaultName(request.params.vault);
        const { keys, nextPageToken } = await keyVault.listKeys({ parent, ...pageOf(request) }, caller.as('key-vault'));
        return {
          body: listBody(
            request,
            keys.map((key) => keyItem(names, key)),
            nextPageToken,
          ),
        };
      },
    }),
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/keys/:key/versions',
      does: 'Lists the versions of a key',
      handle: async (request, caller) => {
        const asked = { parent: versionOf(request.params), ...pageOf(request) };
        const [{ keyVersions, nextPageToken }, key] = await Promise.all([
          keyVault.listKeyVersions(asked, caller.as('key-vault')),
          keyOf({ backends }, asked.parent, caller),
        ]);
        return {
          body: listBody(
            request,
            keyVersions.map((one) => versionItem(names, one, key)),
            nextPageToken,
          ),
        };
      },
    }),
  ];
};

const readingRoutes = ({ backends, names }: KeyParts): readonly Route[] => {
  const { keyVault } = backends;
  const get = async (
    { params }: { readonly params: { readonly vault: string; readonly key: string } },
    caller: Caller,
  ) => {
    const name = versionOf(params);
    const [version, key] = await Promise.all([
      keyVault.getKeyVersion({ name }, caller.as('key-vault')),
      keyOf({ backends }, name, caller),
    ]);
    return { body: keyBundle(names, version, key) };
  };
  return [
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/keys/:key',
      does: 'Reads the current version of a key',
      handle: get,
    }),
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/keys/:key/:version',
      does: 'Reads a version of a key',
      handle: get,
    }),
  ];
};

const updateRoutes = (parts: KeyParts): readonly Route[] => {
  const update = async (
    {
      params,
      body,
    }: {
      readonly params: { readonly vault: string; readonly key: string };
      readonly body: Static<typeof UpdateKeyBody>;
    },
    caller: Caller,
  ) => ({
    body: await versionShown(
      parts,
      await updateVersion(parts.backends.keyVault, caller, versionOf(params), body),
      caller,
    ),
  });
  const common = { ...vault, method: 'PATCH', body: UpdateKeyBody } as const;
  return [
    route({ ...common, path: '/:vault/keys/:key', does: 'Updates the current version of a key', handle: update }),
    route({ ...common, path: '/:vault/keys/:key/:version', does: 'Updates a version of a key', handle: update }),
  ];
};

const deletionRoutes = ({ backends, names }: KeyParts): readonly Route[] => {
  const { keyVault } = backends;
  return [
    route({
      ...vault,
      method: 'DELETE',
      path: '/:vault/keys/:key',
      does: 'Deletes a key with all its versions',
      handle: async ({ params }, caller) => {
        const name = versionOf(params);
        const options = caller.as('key-vault');
        // The answer shows the current version, which a deleted key no longer does. A caller may delete and not read.
        const version = await currentOf({ backends }, name, caller);
        // The public cloud requires no confirmation.
        const key = await keyVault.deleteKey({ name, confirmName: name }, options);
        return { body: { ...keyShown({ names }, key, version), ...deletion(names, key) } };
      },
    }),
  ];
};

const deletedRoutes = ({ backends, names }: KeyParts): readonly Route[] => {
  const { keyVault } = backends;
  return [
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/deletedkeys',
      does: 'Lists deleted keys',
      handle: async (request, caller) => {
        const parent = vaultName(request.params.vault);
        const asked = { parent, ...pageOf(request) };
        const { keys, nextPageToken } = await keyVault.listDeletedKeys(asked, caller.as('key-vault'));
        const value = keys.map((key) => ({ ...keyItem(names, key), ...deletion(names, key) }));
        return { body: listBody(request, value, nextPageToken) };
      },
    }),
    route({
      ...vault,
      method: 'GET',
      path: '/:vault/deletedkeys/:key',
      does: 'Reads a deleted key',
      handle: async ({ params }, caller) => {
        const key = await keyVault.getDeletedKey({ name: versionOf(params) }, caller.as('key-vault'));
        const { kid: _kid, ...item } = keyItem(names, key);
        return {
          body: {
            key: { kid: keyItem(names, { ...key, name: key.currentVersion }).kid, kty: 'RSA' },
            ...item,
            ...deletion(names, key),
          },
        };
      },
    }),
    route({
      ...vault,
      method: 'POST',
      path: '/:vault/deletedkeys/:key/recover',
      does: 'Recovers a deleted key',
      handle: async ({ params }, caller) => {
        const options = caller.as('key-vault');
        const key = await keyVault.recoverKey({ name: versionOf(params) }, options);
        return { body: keyShown({ names }, key, await currentOf({ backends }, key.currentVersion, caller)) };
      },
    }),
    route({
      ...vault,
      method: 'DELETE',
      path: '/:vault/deletedkeys/:key',
      does: 'Purges a deleted key',
      handle: async ({ params }, caller) => {
        const name = versionOf(params);
        await keyVault.purgeKey({ name, confirmName: name }, caller.as('key-vault'));
        return { status: 204 };
      },
    }),
  ];
};

const backupRoutes = ({ backends, names, random }: KeyParts): readonly Route[] => [
  route({
    ...vault,
    method: 'POST',
    path: '/:vault/keys/:key/backup',
    does: 'Backs up a key with all its versions',
    handle: async ({ params }, caller) => {
      const { backup } = await backends.keyVault.backupKey({ name: versionOf(params) }, caller.as('key-vault'));
      return { body: { value: Buffer.from(backup).toString('base64url') } };
    },
  }),
  route({
    ...vault,
    method: 'POST',
    path: '/:vault/keys/restore',
    does: 'Restores a key from its backup',
    body: RestoreKeyBody,
    handle: async (asked, caller) => {
      const { params, body } = asked;
      const options = caller.as('key-vault');
      const parent = vaultName(params.vault);
      const request = {
        parent,
        backup: Buffer.from(body.value, 'base64url'),
        requestId: requestIdOf(asked, caller, random),
      };
      const key = await backends.keyVault.restoreKey(request, options);
      return { body: keyShown({ names }, key, await currentOf({ backends }, key.currentVersion, caller)) };
    },
  }),
];
