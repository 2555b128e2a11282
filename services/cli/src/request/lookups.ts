import type { JsonObject } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import type { Caller } from './calls.ts';
import type { Resolver } from './draft.ts';
import { isObject, methodOf, Service } from './schema.ts';

/**
 * Resolves lookups with calls to the services. Each method throws the refusal of the service.
 * @param short a name as users type it
 * @param spoken receives the principals that are found, with the full name of the set, or `me`
 */
export function resolverOf(
  caller: Caller,
  short: (name: string) => string,
  spoken: (principal: string, by: string) => void,
): Resolver {
  const version = (name: string): Promise<JsonObject> =>
    caller.call('key-vault', methodOf(Service.keyVault, 'GetKeyVersion'), { name });
  return {
    version: async (key) => textOf(await version(key), 'name'),
    onlyVersion: async (key) => {
      const list = methodOf(Service.keyVault, 'ListKeyVersions');
      const { keyVersions } = await caller.call('key-vault', list, { parent: key, pageSize: 2 });
      const [only, second] = Array.isArray(keyVersions) ? keyVersions : [];
      if (isObject(only) && second === undefined) return textOf(only, 'name');
      const short = key.replace(/^vaults\/([^/]+)\/keys\//, '$1/');
      throw new UsageError(
        `${short} has several versions: name one, ${short}/<version> (interlock key versions ${short})`,
      );
    },
    url: async (keyOrVersion) => textOf(await version(keyOrVersion), 'keyUrl'),
    setIdentity: async (name) => {
      const getSet = methodOf(Service.diskEncryptionSet, 'GetDiskEncryptionSet');
      const { identity } = await caller.call('disk-encryption-set', getSet, { name });
      const principal = isObject(identity) ? textOf(identity, 'principal') : '';
      if (principal === '') {
        const set = short(name);
        throw new UsageError(
          `${set} has no identity: interlock set update ${set} --identity-type system-assigned assigns one`,
        );
      }
      spoken(principal, name);
      return principal;
    },
    self: () => {
      spoken(caller.principal, 'me');
      return caller.principal;
    },
  };
}

function textOf(json: JsonObject, field: string): string {
  const value = json[field];
  return typeof value === 'string' ? value : '';
}
