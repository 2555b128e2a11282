import type { Key } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { Rejection } from '@interlock/event-store';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { keyBundle, keyItem } from './key-bundle.ts';

type Parts = { readonly backends: Pick<Backends, 'keyVault'>; readonly names: CloudNames };

/** The key of a version; undefined if the caller may not read it: it may create keys and not read them. */
export const keyOf = (
  { backends }: Pick<Parts, 'backends'>,
  version: string,
  caller: Caller,
): Promise<Key | undefined> =>
  backends.keyVault.getKey({ name: version.replace(/\/versions\/.*/, '') }, caller.as('key-vault')).catch(unlessDenied);

/** The body of every reply with a version, whatever request made it. */
export const versionShown = async (
  parts: Parts,
  version: KeyVersion,
  caller: Caller,
): Promise<Readonly<Record<string, unknown>>> =>
  keyBundle(parts.names, version, await keyOf(parts, version.name, caller));

/** The current version of a key; undefined if the caller may not read it. */
export const currentOf = ({ backends }: Pick<Parts, 'backends'>, name: string, caller: Caller) =>
  backends.keyVault.getKeyVersion({ name }, caller.as('key-vault')).catch(unlessDenied);

/** The body of every reply with a key: its current version, or only its id if the caller may not read that. */
export const keyShown = (
  { names }: Pick<Parts, 'names'>,
  key: Key,
  version: KeyVersion | undefined,
): Readonly<Record<string, unknown>> =>
  version === undefined ? { key: { kid: keyItem(names, key).kid } } : keyBundle(names, version, key);

/** @returns undefined for a refusal of the permission to read; @throws every other error */
const unlessDenied = (error: unknown): undefined => {
  if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return undefined;
  throw error;
};
