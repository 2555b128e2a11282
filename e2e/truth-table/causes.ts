/** Why a customer key cannot be used: the words of `interlock.access.v1.KeyAccessReason`. */
export type LossReason =
  | 'KEY_DISABLED'
  | 'KEY_NOT_YET_VALID'
  | 'KEY_EXPIRED'
  | 'KEY_DELETED'
  | 'KEY_PURGED'
  | 'VAULT_DELETED'
  | 'ACCESS_DENIED'
  | 'IDENTITY_DELETED'
  | 'KEY_VAULT_UNREACHABLE'
  | 'THROTTLED';

/**
 * What a cause does to those who have the key in use.
 *
 * - `loss`: access ends, at once for everything but pinned ultra disks.
 * - `start only`: what runs goes on; nothing can be opened anew.
 * - `throttle`: nobody decided anything; leases are renewed, and nothing can be opened anew for the moment.
 * - `outage`: nobody decided anything. What the grace of the disk host outlasts counts as lost until the vault answers.
 */
export type Effect = 'loss' | 'start only' | 'outage' | 'throttle';

/** One way to lose a key, and the way back. */
export interface Cause {
  readonly name: string;
  /** Rules that say so. */
  readonly rules: readonly string[];
  /** How it comes about, for the page. */
  readonly how: string;
  readonly effect: Effect;
  /** Reason that refused calls, disks and the set give afterwards. */
  readonly reason: LossReason;
  /** Reason on machines it stopped, where a cause of two steps stopped them at its first. */
  readonly stopReason?: LossReason;
  readonly back: string;
  /** False where nothing brings the data back. */
  readonly returns: boolean;
}

/** Every way to lose a key (customer-managed keys, section 8). */
export const causes = [
  {
    name: 'version disabled',
    rules: ['CMK-100', 'CMK-120'],
    how: 'DisableKeyVersion',
    effect: 'loss',
    reason: 'KEY_DISABLED',
    back: 'enable the version',
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
    back: 'none: what only this key could unwrap is lost',
    returns: false,
  },
  {
    name: 'vault deleted',
    rules: ['CMK-133'],
    how: 'DeleteVault, with access policies',
    effect: 'loss',
    reason: 'VAULT_DELETED',
    back: 'recover the vault; its access policies come back with it',
    returns: true,
  },
  {
    name: 'vault deleted and recovered',
    rules: ['CMK-133', 'CMK-123'],
    how: 'DeleteVault, then RecoverVault, with role assignments, which do not come back',
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
    how: 'DeleteRoleAssignment, in a vault that goes by roles',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'assign the role again',
    returns: true,
  },
  {
    name: 'get missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with wrapKey and unwrapKey alone',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'wrapKey missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with get and unwrapKey alone',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'grant again',
    returns: true,
  },
  {
    name: 'unwrapKey missing',
    rules: ['CMK-25', 'CMK-105'],
    how: 'SetAccessPolicy with get and wrapKey alone',
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
    back: 'give the version the operation again',
    returns: true,
  },
  {
    name: 'unwrapKey taken from the key',
    rules: ['KV-88', 'CMK-105'],
    how: 'SetKeyOperations without unwrapKey',
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    back: 'give the version the operation again',
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
    back: 'give the set a new identity, and grant that',
    returns: true,
  },
  {
    name: 'identity set to none',
    rules: ['CMK-38', 'CMK-105'],
    how: 'UpdateDiskEncryptionSet with the identity type NONE',
    effect: 'loss',
    reason: 'IDENTITY_DELETED',
    back: 'give the set a new identity, and grant that',
    returns: true,
  },
  {
    name: 'vault unreachable',
    rules: ['CMK-107'],
    how: 'key-vault gives no answer, for longer than the lease and the grace of the disk host',
    effect: 'outage',
    reason: 'KEY_VAULT_UNREACHABLE',
    back: 'key-vault answers again',
    returns: true,
  },
  {
    name: 'throttled',
    rules: ['KV-95', 'KV-100'],
    how: 'the vault is asked for more uses of its keys than it lets in; checks of leases are not among them',
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
