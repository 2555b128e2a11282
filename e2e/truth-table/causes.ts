import type { AccessReason } from '@interlock/access';

/**
 * The effect of a cause on disks that use the key.
 *
 * - `loss`: access ends, at once for everything except pinned ultra disks.
 * - `start only`: what runs continues; nothing new can be opened.
 * - `throttle`: no loss is decided; leases are renewed, and for the moment nothing new can be opened.
 * - `outage`: no loss is decided. After the grace of the disk host the key counts as lost until the vault responds.
 */
export type Effect = 'loss' | 'start only' | 'outage' | 'throttle';

/** One way to lose a key, and to restore access. */
export interface Cause {
  readonly name: string;
  /** The rules for it. */
  readonly rules: readonly string[];
  /** How it happens, for the page. */
  readonly how: string;
  readonly effect: Effect;
  /** The reason that refused calls, disks and the set give afterwards. */
  readonly reason: AccessReason;
  /** The reason on machines that it stopped, if a cause of two steps stopped them at its first. */
  readonly stopReason?: AccessReason;
  readonly back: string;
  /** False if the data is lost for ever. */
  readonly returns: boolean;
}

/** Every way to lose a key (customer-managed keys, section 8). */
export const causes = [
  {
    name: 'version disabled',
    rules: ['CMK-100', 'CMK-120'],
    how: 'DisableKey',
    effect: 'loss',
    reason: 'KEY_DISABLED',
    back: 'enable the key',
    returns: true,
  },
  {
    name: 'not yet valid',
    rules: ['KV-13'],
    how: 'SetKeyVersionDates with `not_before` in the future',
    effect: 'loss',
    reason: 'KEY_NOT_YET_VALID',
    back: 'move `not_before`',
    returns: true,
  },
  {
    name: 'expired',
    rules: ['CMK-104', 'CMK-124'],
    how: '`expire_time` passes; the set has `key_expiry` STOP',
    effect: 'loss',
    reason: 'KEY_EXPIRED',
    back: 'move `expire_time`',
    returns: true,
  },
  {
    name: 'expired, next start',
    rules: ['CMK-104', 'CMK-124'],
    how: '`expire_time` passes; the set has `key_expiry` NEXT_START',
    effect: 'start only',
    reason: 'KEY_EXPIRED',
    back: 'move `expire_time`',
    returns: true,
  },
  {
    name: 'key deleted',
    rules: ['CMK-100', 'CMK-122'],
    how: 'DeleteKey',
    effect: 'loss',
    reason: 'KEY_DELETED',
    back: 'recover the key',
    returns: true,
  },
  {
    name: 'key purged',
    rules: ['CMK-108'],
    how: 'DeleteKey, then PurgeKey',
    effect: 'loss',
    reason: 'KEY_PURGED',
    stopReason: 'KEY_DELETED',
    back: 'none: data under this key is lost',
    returns: false,
  },
  {
    name: 'vault deleted',
    rules: ['CMK-133'],
    how: 'DeleteVault of a vault with access policies',
    effect: 'loss',
    reason: 'VAULT_DELETED',
    back: 'recover the vault, which restores its access policies',
    returns: true,
  },
  {
    name: 'vault deleted and recovered',
    rules: ['CMK-133', 'CMK-123'],
    how: 'DeleteVault, then RecoverVault; role assignments are not restored',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    stopReason: 'VAULT_DELETED',
    back: 'assign the role again',
    returns: true,
  },
  {
    name: 'access policy removed',
    rules: ['CMK-105', 'CMK-123'],
    how: 'RemoveAccessPolicy',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'role removed',
    rules: ['CMK-105', 'CMK-123'],
    how: 'DeleteRoleAssignment in a vault with role permissions',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'assign the role again',
    returns: true,
  },
  {
    name: 'get missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with wrapKey and unwrapKey only',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'wrapKey missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with get and unwrapKey only',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'unwrapKey missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with get and wrapKey only',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'wrapKey taken from the key',
    rules: ['KV-88', 'CMK-105'],
    how: 'SetKeyOperations without wrapKey',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'add the operation again',
    returns: true,
  },
  {
    name: 'unwrapKey taken from the key',
    rules: ['KV-88', 'CMK-105'],
    how: 'SetKeyOperations without unwrapKey',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'add the operation again',
    returns: true,
  },
  {
    name: 'permission model switched',
    rules: ['CMK-27'],
    how: 'SetPermissionModel from access policies to role assignments',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'switch back',
    returns: true,
  },
  {
    name: 'identity deleted',
    rules: ['CMK-37', 'CMK-39', 'CMK-105'],
    how: 'DeletePrincipal of the managed identity',
    effect: 'loss',
    reason: 'IDENTITY_DELETED',
    back: 'give the set a new identity and grant it access',
    returns: true,
  },
  {
    name: 'identity set to none',
    rules: ['CMK-38', 'CMK-105'],
    how: 'UpdateDiskEncryptionSet with the identity type NONE',
    effect: 'loss',
    reason: 'IDENTITY_DELETED',
    back: 'give the set a new identity and grant it access',
    returns: true,
  },
  {
    name: 'vault unreachable',
    rules: ['CMK-107'],
    how: 'key-vault is unreachable for longer than the lease and the grace of the disk host',
    effect: 'outage',
    reason: 'KEY_VAULT_UNREACHABLE',
    back: 'key-vault responds again',
    returns: true,
  },
  {
    name: 'throttled',
    rules: ['KV-95', 'KV-100'],
    how: 'more uses of keys than the limit of the vault; lease checks do not count',
    effect: 'throttle',
    reason: 'THROTTLED',
    back: 'fewer requests, or a higher limit',
    returns: true,
  },
] as const satisfies readonly Cause[];

/** Name of a cause. */
export type CauseName = (typeof causes)[number]['name'];

/** Those causes, in their order. */
export const causesNamed = (...names: readonly CauseName[]): readonly (Cause & { readonly name: CauseName })[] =>
  causes.filter(({ name }) => names.includes(name));
