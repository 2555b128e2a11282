import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { Static } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { attributesOf, operationsOf } from './key-bundle.ts';
import type { UpdateKeyBody } from './schemas.ts';

/**
 * Changes what the body names of a version. The service has one call for each part, so a version is disabled before anything else
 * changes and enabled after everything else: whenever a call fails, the version is usable only as before or as requested.
 * @param name of the version, or of the key for its current version
 */
export const updateVersion = async (
  keyVault: Backends['keyVault'],
  caller: Caller,
  name: string,
  { attributes, key_ops: keyOps, tags }: Static<typeof UpdateKeyBody>,
): Promise<KeyVersion> => {
  const options = caller.as('key-vault');
  let version = await keyVault.getKeyVersion({ name }, options);
  const of = { name: version.name };
  if (attributes?.enabled === false) version = await keyVault.disableKeyVersion(of, options);
  if (attributes?.nbf !== undefined || attributes?.exp !== undefined) {
    const { notBefore = version.notBefore, expireTime = version.expireTime } = attributesOf(attributes);
    version = await keyVault.setKeyVersionDates({ ...of, notBefore, expireTime }, options);
  }
  if (keyOps !== undefined) {
    version = await keyVault.setKeyOperations({ ...of, keyOperations: operationsOf(keyOps) }, options);
  }
  if (tags !== undefined) version = await keyVault.setKeyTags({ ...of, tags }, options);
  if (attributes?.enabled === true) version = await keyVault.enableKeyVersion(of, options);
  return version;
};
