import { EncryptionAlgorithm, SignatureAlgorithm } from '@interlock/contracts/interlock/key_vault/v1/cryptography.ts';
import type { Key } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import {
  type KeyAttributes,
  type KeyVersion,
  KeyVersion_Operation as Operation,
} from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { Static } from '@sinclair/typebox';
import { type CloudNames, keyUrl } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { AttributesBody } from './schemas.ts';

const operations: Readonly<Record<string, Operation>> = {
  encrypt: Operation.ENCRYPT,
  decrypt: Operation.DECRYPT,
  sign: Operation.SIGN,
  verify: Operation.VERIFY,
  wrapKey: Operation.WRAP_KEY,
  unwrapKey: Operation.UNWRAP_KEY,
};

const recoveryLevels: Readonly<Record<string, string>> = {
  RECOVERABLE_PURGEABLE: 'Recoverable+Purgeable',
  RECOVERABLE: 'Recoverable',
  CUSTOMIZED_RECOVERABLE_PURGEABLE: 'CustomizedRecoverable+Purgeable',
  CUSTOMIZED_RECOVERABLE: 'CustomizedRecoverable',
};

const encryptionAlgorithms: Readonly<Record<string, EncryptionAlgorithm>> = {
  'RSA-OAEP-256': EncryptionAlgorithm.RSA_OAEP_256,
  'RSA-OAEP': EncryptionAlgorithm.RSA_OAEP,
  RSA1_5: EncryptionAlgorithm.RSA1_5,
};

const signatureAlgorithms: Readonly<Record<string, SignatureAlgorithm>> = {
  RS256: SignatureAlgorithm.RS256,
  RS384: SignatureAlgorithm.RS384,
  RS512: SignatureAlgorithm.RS512,
  PS256: SignatureAlgorithm.PS256,
  PS384: SignatureAlgorithm.PS384,
  PS512: SignatureAlgorithm.PS512,
};

const pick = <Value>(table: Readonly<Record<string, Value>>, given: string, field: string): Value => {
  const found = Object.hasOwn(table, given) ? table[given] : undefined;
  if (found !== undefined) return found;
  const allowed = Object.keys(table).join(', ');
  throw new RestError(400, 'BadParameter', `${field} must be one of ${allowed} (got "${given.slice(0, 100)}")`);
};

/** @throws RestError 400 BadParameter */
export const encryptionAlgorithm = (alg: string): EncryptionAlgorithm => pick(encryptionAlgorithms, alg, 'alg');

/** @throws RestError 400 BadParameter */
export const signatureAlgorithm = (alg: string): SignatureAlgorithm => pick(signatureAlgorithms, alg, 'alg');

/** Operations of a key, from their names in the public cloud. @throws RestError 400 BadParameter */
export const operationsOf = (names: readonly string[] | undefined): Operation[] =>
  (names ?? []).map((name) => pick(operations, name, 'key_ops'));

/** @throws RestError 400 BadParameter for a kind of key that does not exist here */
export const requireRsa = (kty: string): void => {
  if (kty === 'RSA') return;
  throw new RestError(
    400,
    'BadParameter',
    `kty must be RSA: other key types are not supported here (got "${kty.slice(0, 50)}")`,
  );
};

const timeOf = (seconds: number | undefined): Date | undefined =>
  seconds === undefined ? undefined : new Date(seconds * 1_000);

const secondsOf = (date: Date | undefined): number | undefined =>
  date === undefined ? undefined : Math.floor(date.getTime() / 1_000);

/** Attributes of a new version. */
export const attributesOf = (attributes: Static<typeof AttributesBody> | undefined): KeyAttributes => ({
  enabled: attributes?.enabled,
  notBefore: timeOf(attributes?.nbf),
  expireTime: timeOf(attributes?.exp),
});

const recoveryOf = (key: Key | undefined): object => {
  const level = key === undefined ? undefined : recoveryLevels[key.recoveryLevel];
  if (level === undefined) return {};
  // The key says only whether its vault keeps it for 90 days.
  return { recoveryLevel: level, ...(level.startsWith('Recoverable') ? { recoverableDays: 90 } : {}) };
};

const defined = <Value extends object>(value: Value): Partial<Value> =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<Value>;

const attributesShown = (version: KeyVersion, key: Key | undefined): object =>
  defined({
    enabled: version.enabled,
    nbf: secondsOf(version.notBefore),
    exp: secondsOf(version.expireTime),
    created: secondsOf(version.createTime),
    updated: secondsOf(version.updateTime),
    ...recoveryOf(key),
    exportable: false,
  });

const tagsShown = (tags: Readonly<Record<string, string>>): object => (Object.keys(tags).length === 0 ? {} : { tags });

/** A key version as clients read it. @param key for its recovery level; undefined if the caller may not read it */
export const keyBundle = (
  names: CloudNames,
  version: KeyVersion,
  key: Key | undefined,
): Readonly<Record<string, unknown>> => ({
  key: {
    kid: keyUrl(names, version.name),
    kty: 'RSA',
    key_ops: version.keyOperations.map(
      (operation) => Object.entries(operations).find(([, known]) => known === operation)?.[0] ?? operation,
    ),
    n: version.publicKey?.n,
    e: version.publicKey?.e,
  },
  attributes: attributesShown(version, key),
  ...tagsShown(version.tags),
});

/** An item of the list of versions. @param key as for `keyBundle` */
export const versionItem = (
  names: CloudNames,
  version: KeyVersion,
  key: Key | undefined,
): { readonly kid: string; readonly attributes: object; readonly tags?: object } => ({
  kid: keyUrl(names, version.name),
  attributes: attributesShown(version, key),
  ...tagsShown(version.tags),
});

/** An item of the list of keys: without version. The service shows for a key only why its current version cannot be used. */
export const keyItem = (names: CloudNames, key: Key): Readonly<Record<string, unknown>> => ({
  kid: keyUrl(names, key.name),
  attributes: defined({
    enabled: key.unavailableReason !== 'KEY_DISABLED',
    created: secondsOf(key.createTime),
    updated: secondsOf(key.updateTime),
    ...recoveryOf(key),
  }),
  ...tagsShown(key.tags),
});

/** Further members of a deleted key. */
export const deletion = (names: CloudNames, key: Key): object =>
  defined({
    recoveryId: keyUrl(names, key.name).replace('/keys/', '/deletedkeys/'),
    deletedDate: secondsOf(key.deleteTime),
    scheduledPurgeDate: secondsOf(key.scheduledPurgeTime),
  });
