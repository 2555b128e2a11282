import type { Key_RecoveryLevel, Key as WireKey } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import type {
  KeyAttributes,
  KeyVersion_Operation,
  KeyVersion as WireKeyVersion,
} from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type KeyUrls, versionName } from '../names.ts';
import type { ExistingVault } from '../vault/vault.ts';
import { checkedDates, checkedTags, keyOperations } from './attributes.ts';
import { keyDeleted, keyNotFound } from './decider.ts';
import type { KeyOperation, VersionAttributes } from './events.ts';
import { exists, type Key, type KeyVersion, versionOf } from './key.ts';
import { obstacleOf } from './usability.ts';

/** Operations as the API names them. */
export const operationOnWire = {
  encrypt: 'ENCRYPT',
  decrypt: 'DECRYPT',
  sign: 'SIGN',
  verify: 'VERIFY',
  wrapKey: 'WRAP_KEY',
  unwrapKey: 'UNWRAP_KEY',
} as const satisfies Record<KeyOperation, KeyVersion_Operation>;

/** Reads operations; an empty list stays empty. @throws Rejection INVALID_ARGUMENT KEY_OPERATIONS_INVALID (KV-09) */
export const operationsFromWire = (wire: readonly KeyVersion_Operation[]): readonly KeyOperation[] => {
  const found = keyOperations.filter((operation) => wire.includes(operationOnWire[operation]));
  if (wire.every((one) => found.some((operation) => operationOnWire[operation] === one))) return found;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OPERATIONS_INVALID',
    `key_operations must be among ${Object.values(operationOnWire).join(', ')}`,
    { field: 'key_operations' },
  );
};

/** Reads the attributes of a new version. @throws Rejection INVALID_ARGUMENT naming the field */
export const attributesFromWire = (request: {
  readonly keyOperations: readonly KeyVersion_Operation[];
  readonly attributes: KeyAttributes | undefined;
  readonly tags: Readonly<Record<string, string>>;
}): VersionAttributes => ({
  enabled: request.attributes?.enabled ?? true,
  ...checkedDates(request.attributes?.notBefore, request.attributes?.expireTime),
  operations: request.keyOperations.length === 0 ? keyOperations : operationsFromWire(request.keyOperations),
  tags: checkedTags(request.tags),
});

/** How a key can be recovered or purged after a delete (KV-65). */
export const recoveryLevel = ({ retentionDays, purgeProtected }: ExistingVault): Key_RecoveryLevel => {
  if (retentionDays === 90) return purgeProtected ? 'RECOVERABLE' : 'RECOVERABLE_PURGEABLE';
  return purgeProtected ? 'CUSTOMIZED_RECOVERABLE' : 'CUSTOMIZED_RECOVERABLE_PURGEABLE';
};

/** A key as the API shows it at a moment. @throws Rejection NOT_FOUND KEY_NOT_FOUND (KV-90) */
export const keyOnWire = ({ id, state, version: etag }: Loaded<Key>, vault: ExistingVault, now: Instant): WireKey => {
  const current = exists(state) ? versionOf(state, state.current) : undefined;
  if (!exists(state) || !current) throw keyNotFound(id);
  const isDeleted = state.status === 'deleted';
  const obstacle = obstacleOf(vault, state, current.version, now);
  return {
    name: id,
    keySizeBits: current.bits,
    currentVersion: versionName(id, current.version),
    state: isDeleted ? 'DELETED' : 'ACTIVE',
    deleteTime: isDeleted ? new Date(state.deletedAt) : undefined,
    scheduledPurgeTime: isDeleted ? new Date(state.purgeAt) : undefined,
    recoveryLevel: recoveryLevel(vault),
    tags: current.tags,
    createTime: new Date(state.createdAt),
    updateTime: new Date(state.updatedAt),
    etag: String(etag),
    unavailableReason: obstacle?.reason ?? 'KEY_ACCESS_REASON_UNSPECIFIED',
    unavailableSince: obstacle?.since === undefined ? undefined : new Date(obstacle.since),
  };
};

/**
 * One version of an active key as the API shows it; without `versionId` the current one (KV-04).
 * @throws Rejection NOT_FOUND KEY_NOT_FOUND, KEY_DELETED, KEY_VERSION_NOT_FOUND (KV-90)
 */
export const keyVersionOnWire = (
  { id, state, version: etag }: Loaded<Key>,
  versionId: string | undefined,
  urls: KeyUrls,
): WireKeyVersion => {
  const version = existingVersion({ id, state }, versionId);
  const url = urls.version(id, version.version);
  const time = (instant: number | undefined) => (instant === undefined ? undefined : new Date(instant));
  const { n, e } = version;
  return {
    name: versionName(id, version.version),
    keyUrl: url,
    enabled: version.enabled,
    notBefore: time(version.notBefore),
    expireTime: time(version.expiresAt),
    keyOperations: version.operations.map((operation) => operationOnWire[operation]),
    publicKey: { n, e, jwkJson: JSON.stringify({ kid: url, kty: 'RSA', key_ops: version.operations, n, e }) },
    keySizeBits: version.bits,
    origin: version.origin === 'imported' ? 'IMPORTED' : 'GENERATED',
    createTime: new Date(version.createdAt),
    updateTime: new Date(version.updatedAt),
    tags: version.tags,
    etag: String(etag),
    versionCount: exists(state) ? Object.keys(state.versions).length : 0,
  };
};

/** A version of an active key; without `versionId` the current one. @throws as `keyVersionOnWire` */
export const existingVersion = (
  { id, state }: Pick<Loaded<Key>, 'id' | 'state'>,
  versionId: string | undefined,
): KeyVersion => {
  if (state.status === 'deleted') throw keyDeleted(id);
  if (state.status !== 'active') throw keyNotFound(id);
  const version = versionOf(state, versionId ?? state.current);
  if (version) return version;
  const name = versionName(id, versionId ?? '');
  throw new Rejection('NOT_FOUND', 'KEY_VERSION_NOT_FOUND', `${name} was not found in this key vault.`, {
    key_version: name,
  });
};
