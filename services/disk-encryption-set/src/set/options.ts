import type { CreateDiskEncryptionSetRequest } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type {
  IdentityType,
  UpdateDiskEncryptionSetRequest,
  KeyExpiryPolicy as WireKeyExpiry,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { publishBarred } from './access.ts';
import { activeSet } from './decider.ts';
import type { KeyExpiry, SetEvent, SetOptions } from './events.ts';
import { type DiskEncryptionSet, isSpread } from './state.ts';

/** Changes of an update. */
export interface RequestedChange extends Partial<SetOptions> {
  readonly identity?: 'system_assigned' | 'user_assigned' | 'none';
}

/** Expiry policies as the API names them. */
export const keyExpiryOnWire = { stop: 'STOP', next_start: 'NEXT_START' } as const satisfies Record<
  KeyExpiry,
  WireKeyExpiry
>;

/**
 * Changes options. If an expiry is to stop machines from now on, an expiry that only barred starts is published (CMK-104).
 * @throws Rejection NOT_FOUND DISK_ENCRYPTION_SET_NOT_FOUND; FAILED_PRECONDITION DISK_ENCRYPTION_SET_NOT_READY
 */
export const changeOptions =
  (at: Instant, change: Partial<SetOptions>) =>
  (state: DiskEncryptionSet): readonly SetEvent[] => {
    const set = activeSet(state);
    const options = { ...set.options, ...change };
    if (isSame(options, set.options)) return [];
    const isStricter = options.keyExpiry === 'stop' && set.options.keyExpiry === 'next_start';
    return [{ type: 'SetOptionsChanged', ...options, at }, ...(isStricter ? publishBarred(at)(set) : [])];
  };

const isSame = (one: SetOptions, other: SetOptions): boolean =>
  one.keyExpiry === other.keyExpiry &&
  one.autoRestart === other.autoRestart &&
  one.autoKeyRotation === other.autoKeyRotation &&
  isSpread(one) === isSpread(other);

/** Reads the options of a creation. @throws Rejection INVALID_ARGUMENT KEY_EXPIRY_POLICY_INVALID */
export const requestedOptionsOf = (request: CreateDiskEncryptionSetRequest): SetOptions => {
  const { autoRestart, autoKeyRotationEnabled: autoKeyRotation, spread } = request;
  return { keyExpiry: keyExpiryOf(request.keyExpiry) ?? 'stop', autoRestart, autoKeyRotation, spread };
};

/**
 * Reads an update.
 * @throws Rejection INVALID_ARGUMENT UPDATE_EMPTY, KEY_EXPIRY_POLICY_INVALID, IDENTITY_TYPE_INVALID
 */
export const requestedChangeOf = (request: UpdateDiskEncryptionSetRequest): RequestedChange => {
  const { autoRestart, autoKeyRotationEnabled: autoKeyRotation, spread } = request;
  const keyExpiry = keyExpiryOf(request.keyExpiry);
  const identity = identityOf(request.identityType);
  const change: RequestedChange = {
    ...(keyExpiry === undefined ? {} : { keyExpiry }),
    ...(autoRestart === undefined ? {} : { autoRestart }),
    ...(autoKeyRotation === undefined ? {} : { autoKeyRotation }),
    ...(spread === undefined ? {} : { spread }),
    ...(identity === undefined ? {} : { identity }),
  };
  if (Object.keys(change).length > 0) return change;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'UPDATE_EMPTY',
    'an update needs at least one of key_expiry, auto_restart, auto_key_rotation_enabled, spread and identity_type',
  );
};

const keyExpiryOf = (asked: WireKeyExpiry): KeyExpiry | undefined => {
  switch (asked) {
    case 'KEY_EXPIRY_POLICY_UNSPECIFIED':
      return undefined;
    case 'STOP':
      return 'stop';
    case 'NEXT_START':
      return 'next_start';
    default:
      throw new Rejection(
        'INVALID_ARGUMENT',
        'KEY_EXPIRY_POLICY_INVALID',
        `key_expiry must be STOP or NEXT_START, not ${asked}`,
        { field: 'key_expiry', value: asked },
      );
  }
};

const identityOf = (asked: IdentityType): RequestedChange['identity'] => {
  switch (asked) {
    case 'IDENTITY_TYPE_UNSPECIFIED':
      return undefined;
    case 'SYSTEM_ASSIGNED':
      return 'system_assigned';
    case 'NONE':
      return 'none';
    case 'USER_ASSIGNED':
      return 'user_assigned';
    default:
      throw new Rejection(
        'INVALID_ARGUMENT',
        'IDENTITY_TYPE_INVALID',
        `identity_type must be SYSTEM_ASSIGNED, USER_ASSIGNED or NONE, not ${asked}`,
        { field: 'identity_type', value: asked },
      );
  }
};
