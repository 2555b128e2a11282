import type { LossReason } from '@interlock/access';
import type {
  EncryptionType as WireEncryptionType,
  KeyAccessReason as WireReason,
} from '@interlock/contracts/interlock/access/v1/access.ts';
import type {
  DiskEncryptionSet_ProvisioningState,
  KeyAccessState,
  DiskEncryptionSet as WireSet,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type {
  AutoKeyRotationError,
  IdentityType,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { type Loaded, Rejection } from '@interlock/event-store';
import { setNotFound } from './decider.ts';
import type { EncryptionType } from './events.ts';
import { keyExpiryOnWire } from './options.ts';
import {
  type DiskEncryptionSet,
  type Following,
  isSpread,
  keyVersionsOf,
  type Rotation,
  type SetBody,
} from './state.ts';

/** Encryption types as the API names them. */
export const encryptionTypeOnWire = {
  customer_key: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
  platform_and_customer_keys: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS',
} as const satisfies Record<EncryptionType, WireEncryptionType>;

/** A reason as the API names it. */
export const reasonOnWire = (reason: LossReason | 'UNKNOWN'): WireReason =>
  reason === 'UNKNOWN' ? 'KEY_ACCESS_REASON_UNSPECIFIED' : reason;

/**
 * Reads the encryption type of a request; default: the customer's key alone (CMK-31).
 * @throws Rejection INVALID_ARGUMENT ENCRYPTION_TYPE_NOT_ALLOWED
 */
export const encryptionTypeOf = (asked: WireEncryptionType): EncryptionType => {
  switch (asked) {
    case 'ENCRYPTION_TYPE_UNSPECIFIED':
    case 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY':
      return 'customer_key';
    case 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS':
      return 'platform_and_customer_keys';
    default:
      throw new Rejection(
        'INVALID_ARGUMENT',
        'ENCRYPTION_TYPE_NOT_ALLOWED',
        'encryption_type must be ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY or ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS, ' +
          `not ${asked}`,
        { field: 'encryption_type', value: asked },
      );
  }
};

/** @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND */
export const setOnWire = (loaded: Loaded<DiskEncryptionSet>): WireSet => {
  const { state } = loaded;
  if (state.status === 'absent' || state.status === 'deleted') throw setNotFound(loaded.id);
  return existedOnWire({ ...loaded, state });
};

/** The same for a set that may be deleted: the response of a deletion. */
export const existedOnWire = ({
  id,
  state,
  version,
}: Loaded<Exclude<DiskEncryptionSet, { status: 'absent' }>>): WireSet => {
  const { principal, tenant, lastKeyRotationAt, options } = state;
  return {
    name: id,
    location: state.location,
    encryptionType: encryptionTypeOnWire[state.encryptionType],
    identity: { principal, tenant, type: identityTypeOf(state) },
    activeKey: { ...state.activeKey },
    previousKeys: state.previousKeys.map((key) => ({ ...key })),
    generation: state.generation,
    provisioningState: provisioningStateOf(state),
    lastKeyRotationTime: lastKeyRotationAt === null ? undefined : new Date(lastKeyRotationAt),
    keyAccess: keyVersionsOf(state).map((keyVersion) => accessOnWire(state, keyVersion)),
    rotation: state.rotation === null ? undefined : rotationOnWire(state.rotation),
    createTime: new Date(state.createdAt),
    etag: String(version),
    keyExpiry: keyExpiryOnWire[options.keyExpiry],
    autoRestart: options.autoRestart,
    autoKeyRotationEnabled: options.autoKeyRotation,
    spread: isSpread(options),
    autoKeyRotationError: state.following.error === null ? undefined : errorOnWire(state.following.error),
  };
};

const identityTypeOf = ({ principal, userAssigned = false }: SetBody): IdentityType => {
  if (principal === '') return 'NONE';
  return userAssigned ? 'USER_ASSIGNED' : 'SYSTEM_ASSIGNED';
};

const provisioningStateOf = (
  set: Exclude<DiskEncryptionSet, { status: 'absent' }>,
): DiskEncryptionSet_ProvisioningState => {
  switch (set.status) {
    case 'creating':
      return 'CREATING';
    case 'active':
      return set.rotation === null || set.rotation.progress.status === 'finished' ? 'SUCCEEDED' : 'UPDATING';
    default:
      return 'DELETING';
  }
};

const accessOnWire = (set: SetBody, keyVersion: string): KeyAccessState => {
  const known = set.access[keyVersion];
  const base = { keyVersion, reason: reasonOnWire('UNKNOWN'), since: undefined, accessEpoch: 0, traceId: '' };
  if (known === undefined) return { ...base, state: 'STATE_UNSPECIFIED' };
  const at = { since: new Date(known.since), accessEpoch: known.epoch };
  if (known.state === 'available') return { ...base, ...at, state: 'AVAILABLE' };
  return { ...base, ...at, state: 'LOST', reason: reasonOnWire(known.reason), traceId: known.traceId };
};

const errorOnWire = ({ code, message, keyVersion, since }: NonNullable<Following['error']>): AutoKeyRotationError => ({
  code,
  message,
  keyVersion,
  since: new Date(since),
});

const rotationOnWire = ({ progress, resourcesCount, doneCount, startedAt }: Rotation): WireSet['rotation'] => {
  const isWaiting = progress.status === 'waiting';
  return {
    state: ({ running: 'RUNNING', waiting: 'WAITING', finished: 'SUCCEEDED' } as const)[progress.status],
    resourcesCount,
    doneCount,
    waitingReason: reasonOnWire(isWaiting ? progress.reason : 'UNKNOWN'),
    waitingForKeyVersion: isWaiting ? progress.keyVersion : '',
    waitingCode: isWaiting ? (progress.code ?? '') : '',
    unreachableDiskHosts: isWaiting ? [...(progress.diskHosts ?? [])] : [],
    startTime: new Date(startedAt),
    endTime: progress.status === 'finished' ? new Date(progress.finishedAt) : undefined,
  };
};
