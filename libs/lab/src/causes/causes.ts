import type { AccessReason } from '@interlock/access';
import type { AccessOwner, Choice } from './access-owner.ts';

export type { AccessOwner, Choice } from './access-owner.ts';

/**
 * The effect of a cause on disks that use the key.
 *
 * - `loss`: access ends, at once for everything except pinned ultra disks.
 * - `throttle`: no loss is decided; leases are renewed, and for the moment nothing new can be opened.
 * - `outage`: no loss is decided. After the grace of the disk host the key counts as lost until the vault responds.
 */
export type CauseEffect = 'loss' | 'outage' | 'throttle';

/** What a cause takes from the set. */
export type Lost = 'key version' | 'key' | 'vault' | 'grant' | 'identity' | 'network' | 'response';

type Call = <Done>(owner: AccessOwner<Done>, choice: Choice) => Promise<Done>;

/** One way to end the access of a set to its key, and to restore it. */
export interface Cause {
  /** As experiment files name the action. */
  readonly name: string;
  /** What happened, for labels: `role removed`. */
  readonly done: string;
  /** One sentence, for the schema and the page. */
  readonly description: string;
  readonly lost: Lost;
  readonly rules: readonly string[];
  readonly effect: CauseEffect;
  /** The reason that refused calls, disks and the set show. */
  readonly reason: AccessReason;
  /** The reason of machines that the first of two calls stopped. */
  readonly stopReason?: AccessReason;
  /** The permission model that the vault must have. */
  readonly model?: 'ACCESS_POLICY' | 'ROLE_ASSIGNMENT';
  /** What can be chosen: the option of experiment files, and its values. */
  readonly choice?: { readonly option: 'permission' | 'operation'; readonly values: readonly Choice[] };
  /** A date decides when it takes effect. */
  readonly isByDate?: true;
  /** Calls that end access; absent if no owner decides: then each target brings it about. */
  readonly take?: readonly Call[];
  /** Calls that restore it; empty if nothing does: the cause is final. */
  readonly giveBack?: readonly Call[];
  /** How access is restored, for the page. */
  readonly back: string;
}

const permissions = { option: 'permission', values: ['get', 'wrap', 'unwrap'] } as const;
const operations = { option: 'operation', values: ['wrap', 'unwrap'] } as const;

/** Every cause of a loss (customer-managed keys, section 8): one name, one pair of actions, for every target. */
export const causes = [
  {
    name: 'disable-key',
    done: 'key disabled',
    description: 'Disables every version of the key.',
    lost: 'key',
    rules: ['CMK-100', 'CMK-120'],
    effect: 'loss',
    reason: 'KEY_DISABLED',
    take: [(owner) => owner.disableKey()],
    giveBack: [(owner) => owner.enableKey()],
    back: 'enable the key',
  },
  {
    name: 'disable-version',
    done: 'key version disabled',
    description: 'Disables the key version of the set; other versions stay enabled.',
    lost: 'key version',
    rules: ['CMK-100', 'CMK-120'],
    effect: 'loss',
    reason: 'KEY_DISABLED',
    take: [(owner) => owner.disableVersion()],
    giveBack: [(owner) => owner.enableVersion()],
    back: 'enable the version',
  },
  {
    name: 'expire-key',
    done: 'key expired',
    description: 'Sets an expiry date of the key that passes within a second.',
    lost: 'key version',
    rules: ['CMK-104', 'CMK-124'],
    effect: 'loss',
    reason: 'KEY_EXPIRED',
    isByDate: true,
    take: [(owner) => owner.expire()],
    giveBack: [(owner) => owner.restoreDates()],
    back: 'move the expiry date',
  },
  {
    name: 'not-yet-valid',
    done: 'key not yet valid',
    description: 'Moves the start of validity of the key into the future.',
    lost: 'key version',
    rules: ['KV-13'],
    effect: 'loss',
    reason: 'KEY_NOT_YET_VALID',
    isByDate: true,
    take: [(owner) => owner.postpone()],
    giveBack: [(owner) => owner.restoreDates()],
    back: 'move the start of validity',
  },
  {
    name: 'delete-key',
    done: 'key deleted',
    description: 'Deletes the key; it can be recovered.',
    lost: 'key',
    rules: ['CMK-100', 'CMK-122'],
    effect: 'loss',
    reason: 'KEY_DELETED',
    take: [(owner) => owner.deleteKey()],
    giveBack: [(owner) => owner.recoverKey()],
    back: 'recover the key',
  },
  {
    name: 'purge-key',
    done: 'key purged',
    description: 'Deletes the key and purges it. Cannot be undone: needs `leave: true`.',
    lost: 'key',
    rules: ['CMK-108'],
    effect: 'loss',
    reason: 'KEY_PURGED',
    stopReason: 'KEY_DELETED',
    take: [(owner) => owner.deleteKey(), (owner) => owner.purgeKey()],
    giveBack: [],
    back: 'none: data under this key is lost',
  },
  {
    name: 'remove-policy',
    done: 'access policy removed',
    description: 'Removes the access policy of the set.',
    lost: 'grant',
    rules: ['CMK-105', 'CMK-123'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    model: 'ACCESS_POLICY',
    take: [(owner) => owner.removePolicy()],
    giveBack: [(owner) => owner.restorePolicy()],
    back: 'grant again',
  },
  {
    name: 'remove-permission',
    done: 'permission removed',
    description: 'Removes one permission of the set: see `permission`.',
    lost: 'grant',
    rules: ['CMK-25', 'CMK-105'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    model: 'ACCESS_POLICY',
    choice: permissions,
    take: [(owner, permission) => owner.removePermission(permission)],
    giveBack: [(owner) => owner.restorePolicy()],
    back: 'grant again',
  },
  {
    name: 'remove-role',
    done: 'role removed',
    description: 'Removes the role assignment of the set on the vault.',
    lost: 'grant',
    rules: ['CMK-105', 'CMK-123'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    model: 'ROLE_ASSIGNMENT',
    take: [(owner) => owner.removeRoles()],
    giveBack: [(owner) => owner.restoreRoles()],
    back: 'assign the role again',
  },
  {
    name: 'remove-operation',
    done: 'operation removed',
    description: 'Removes one operation from the key version itself: see `operation`.',
    lost: 'key version',
    rules: ['KV-88', 'CMK-105'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    choice: operations,
    take: [(owner, operation) => owner.removeOperation(operation)],
    giveBack: [(owner) => owner.restoreOperations()],
    back: 'add the operation again',
  },
  {
    name: 'switch-permission-model',
    done: 'permission model switched',
    description: 'Switches the vault between access policies and role assignments, without the rights of the set.',
    lost: 'grant',
    rules: ['CMK-27'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    take: [(owner) => owner.switchModel()],
    giveBack: [(owner) => owner.restoreModel()],
    back: 'switch back',
  },
  {
    name: 'close-network',
    done: 'network closed',
    description: 'Closes the network of the vault, also for trusted services.',
    lost: 'network',
    rules: ['CMK-29', 'CMK-105'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    take: [(owner) => owner.closeNetwork()],
    giveBack: [(owner) => owner.openNetwork()],
    back: 'open the network',
  },
  {
    name: 'delete-identity',
    done: 'identity deleted',
    description: 'Deletes the managed identity of the set.',
    lost: 'identity',
    rules: ['CMK-37', 'CMK-39', 'CMK-105'],
    effect: 'loss',
    reason: 'IDENTITY_DELETED',
    take: [(owner) => owner.deleteIdentity()],
    giveBack: [(owner) => owner.replaceIdentity()],
    back: 'give the set a new identity and grant it access',
  },
  {
    name: 'set-identity-none',
    done: 'identity of the set removed',
    description: 'Sets the identity of the set to none.',
    lost: 'identity',
    rules: ['CMK-38', 'CMK-105'],
    effect: 'loss',
    reason: 'IDENTITY_DELETED',
    take: [(owner) => owner.removeIdentity()],
    giveBack: [(owner) => owner.replaceIdentity()],
    back: 'give the set a new identity and grant it access',
  },
  {
    name: 'delete-vault',
    done: 'vault deleted',
    description: 'Deletes the vault; it can be recovered.',
    lost: 'vault',
    rules: ['CMK-133'],
    effect: 'loss',
    reason: 'VAULT_DELETED',
    take: [(owner) => owner.deleteVault()],
    giveBack: [(owner) => owner.recoverVault(), (owner) => owner.replaceRoles()],
    back: 'recover the vault, which restores its access policies; assign its roles again',
  },
  {
    name: 'recover-vault-without-role',
    done: 'vault deleted, recovered without its role',
    description: 'Deletes the vault and recovers it, which restores no role assignment.',
    lost: 'grant',
    rules: ['CMK-133', 'CMK-123'],
    effect: 'loss',
    reason: 'ACCESS_DENIED',
    stopReason: 'VAULT_DELETED',
    model: 'ROLE_ASSIGNMENT',
    take: [(owner) => owner.deleteVault(), (owner) => owner.recoverVault()],
    giveBack: [(owner) => owner.replaceRoles()],
    back: 'assign the role again',
  },
  {
    name: 'throttle',
    done: 'vault throttled',
    description: 'Makes the vault refuse most requests for the key (too many requests).',
    lost: 'response',
    rules: ['KV-95', 'KV-100'],
    effect: 'throttle',
    reason: 'THROTTLED',
    back: 'fewer requests, or a higher limit',
  },
] as const satisfies readonly Cause[];

/** Name of a cause. */
export type CauseName = (typeof causes)[number]['name'];

type TitleOf<One> = One extends {
  readonly name: infer Name extends string;
  readonly choice: { readonly values: readonly (infer Value extends string)[] };
}
  ? `${Name} ${Value}`
  : One extends { readonly name: infer Name extends string }
    ? Name
    : never;

/** Name of a cause with its choice: `remove-permission get`. */
export type CauseTitle = TitleOf<(typeof causes)[number]>;

/** Causes that calls of an owner bring about. */
export type CallableCause = Exclude<CauseName, 'throttle'>;

/** No owner decides it, so it is no action of a key: `pause`, `kill` and `cut` of key-vault bring it about. */
export const unreachableVault = {
  name: 'vault-unreachable',
  done: 'vault unreachable',
  description: 'key-vault does not respond for longer than the lease and the grace of the disk host.',
  lost: 'response',
  rules: ['CMK-107'],
  effect: 'outage',
  reason: 'KEY_VAULT_UNREACHABLE',
  back: 'key-vault responds again',
} as const satisfies Cause;

const byName: ReadonlyMap<string, Cause> = new Map(causes.map((cause) => [cause.name, cause]));

/** The cause of that name; undefined for any other name. */
export const findCause = (name: string): Cause | undefined => byName.get(name);

/** The cause of that name. */
export const causeOf = (name: CauseName): Cause => {
  const cause = byName.get(name);
  if (cause === undefined) throw new Error(`no cause is named ${name}`);
  return cause;
};

/** Whether nothing restores access. */
export const isFinal = ({ giveBack }: Cause): boolean => giveBack?.length === 0;

/** A cause with one of its choices. */
export interface CauseVariant {
  readonly cause: Cause;
  readonly choice?: Choice;
  readonly title: CauseTitle;
}

/** Each cause with each of its choices. */
export const variantsOf = (some: readonly Cause[]): readonly CauseVariant[] =>
  some.flatMap((cause) =>
    cause.choice === undefined
      ? [{ cause, title: cause.name as CauseTitle }]
      : cause.choice.values.map((choice) => ({ cause, choice, title: `${cause.name} ${choice}` as CauseTitle })),
  );

/**
 * Ends access.
 * @param between called between two calls, to wait for the effect of the first
 * @returns the result of each call
 */
export const takeAccess = async <Done>(
  { cause, choice }: Pick<CauseVariant, 'cause' | 'choice'>,
  owner: AccessOwner<Done>,
  between: () => Promise<void> = async () => {},
): Promise<readonly Done[]> => {
  const { take = [] } = cause;
  const results: Done[] = [];
  for (const [n, call] of take.entries()) {
    if (n > 0) await between();
    results.push(await call(owner, choice ?? 'get'));
  }
  return results;
};

/** Restores access; does nothing if the cause is final. @returns the result of each call */
export const giveAccessBack = async <Done>(cause: Cause, owner: AccessOwner<Done>): Promise<readonly Done[]> => {
  const results: Done[] = [];
  for (const call of cause.giveBack ?? []) results.push(await call(owner, 'get'));
  return results;
};
