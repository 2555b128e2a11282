import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyPermission, NewVault, PermissionModel, VaultEvent } from './events.ts';
import { type ActiveVault, answerOf, identityKnownTo, type Vault } from './vault.ts';

/** Principals in the access policies of one vault. Rule KV-72. */
export const accessPoliciesMax = 1_024;

/**
 * Creates a vault; the same wish again decides nothing. The name of a purged vault is free (KV-15).
 * @throws Rejection INVALID_ARGUMENT RETENTION_INVALID (KV-61); ALREADY_EXISTS VAULT_ALREADY_EXISTS, or VAULT_NAME_HELD
 *   while a deleted vault has the name (KV-64)
 */
export const create =
  (at: Instant, wish: NewVault) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (!Number.isInteger(wish.retentionDays) || wish.retentionDays < 7 || wish.retentionDays > 90) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'RETENTION_INVALID',
        `soft_delete_retention_days must be a whole number from 7 to 90, not ${wish.retentionDays}`,
        { field: 'soft_delete_retention_days', value: String(wish.retentionDays) },
      );
    }
    checkPolicyCount(Object.keys(wish.accessPolicies).length);
    if (vault.status === 'absent' || vault.status === 'purged') return [{ type: 'VaultCreated', ...wish, at }];
    if (vault.status !== 'active') {
      throw new Rejection(
        'ALREADY_EXISTS',
        'VAULT_NAME_HELD',
        'A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault.',
        { field: 'vault_id' },
      );
    }
    if (differencesOf(vault, wish).length === 0) return [];
    throw new Rejection('ALREADY_EXISTS', 'VAULT_ALREADY_EXISTS', 'vault_id is taken: names of vaults are global', {
      field: 'vault_id',
    });
  };

/** In which fields a vault was created otherwise than is wished: `location is westeurope, not eastus`. None: the same wish. */
const differencesOf = (vault: ActiveVault, wish: NewVault): readonly string[] => {
  const { asCreated } = vault;
  const pairs: readonly (readonly [string, string | number | boolean, string | number | boolean])[] = [
    ['resource_group', vault.resourceGroup, wish.resourceGroup],
    ['location', vault.location, wish.location],
    ['sku', vault.sku, wish.sku],
    ['soft_delete_retention_days', vault.retentionDays, wish.retentionDays],
    ['permission_model', asCreated.permissionModel, wish.permissionModel],
    ['purge_protection_enabled', asCreated.purgeProtected, wish.purgeProtected],
  ];
  const plain = pairs.flatMap(([field, was, wanted]) => (was === wanted ? [] : [`${field} ${was}, not ${wanted}`]));
  return isSamePolicies(asCreated.accessPolicies, wish.accessPolicies) ? plain : [...plain, 'other access_policies'];
};

/**
 * What stands in the way of a create, for who may read the vault that has the name: what differs. To others it says no more
 * than that the name is taken.
 */
export const takenByOwn = (vault: ActiveVault, wish: NewVault): Rejection | undefined => {
  const differences = differencesOf(vault, wish);
  if (differences.length === 0) return undefined;
  return new Rejection(
    'ALREADY_EXISTS',
    'VAULT_ALREADY_EXISTS',
    `vault_id is taken: the vault is there, and was created with ${differences.join('; ')}`,
    { field: 'vault_id' },
  );
};

const isSamePolicies = (left: NewVault['accessPolicies'], right: NewVault['accessPolicies']): boolean => {
  const principals = Object.keys(left);
  return (
    principals.length === Object.keys(right).length &&
    principals.every((principal) => isSame(left[principal] ?? [], right[principal] ?? []))
  );
};

/** Permissions are stored sorted and without repeats, so that equal ones look equal. */
const isSame = (left: readonly KeyPermission[], right: readonly KeyPermission[]): boolean =>
  left.length === right.length && left.every((permission, index) => permission === right[index]);

/** Turns purge protection on; there is no way to turn it off (KV-62). */
export const enablePurgeProtection =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    active(vault).purgeProtected ? [] : [{ type: 'PurgeProtectionEnabled', at }];

/**
 * Sets everything a principal may do, in place of what it might before (KV-72).
 * @param permissions sorted, without repeats, not empty
 * @throws Rejection RESOURCE_EXHAUSTED TOO_MANY_ACCESS_POLICIES
 */
export const setAccessPolicy =
  (at: Instant, principal: string, permissions: readonly KeyPermission[]) =>
  (vault: Vault): readonly VaultEvent[] => {
    const { accessPolicies } = active(vault);
    const held = accessPolicies[principal];
    if (held && isSame(held, permissions)) return [];
    if (!held) checkPolicyCount(Object.keys(accessPolicies).length + 1);
    return [{ type: 'AccessPolicySet', principal, permissions, at }];
  };

/** Takes everything from a principal. */
export const removeAccessPolicy =
  (at: Instant, principal: string) =>
  (vault: Vault): readonly VaultEvent[] =>
    active(vault).accessPolicies[principal] ? [{ type: 'AccessPolicyRemoved', principal, at }] : [];

/**
 * Chooses which grants count (KV-70).
 * @param mayLeaveRoles whether the caller was asked what leaving the role model needs: not where another model was found
 * @throws Rejection ABORTED CONTENTION when the vault has come under the role model since
 */
export const setPermissionModel =
  (at: Instant, permissionModel: PermissionModel, mayLeaveRoles: boolean) =>
  (vault: Vault): readonly VaultEvent[] => {
    const { permissionModel: current } = active(vault);
    if (current === permissionModel) return [];
    if (current === 'role_assignment' && !mayLeaveRoles) {
      throw new Rejection(
        'ABORTED',
        'CONTENTION',
        'somebody else chose the role model for the vault meanwhile: read it again and decide again',
      );
    }
    return [{ type: 'PermissionModelSet', permissionModel, at }];
  };

/** A change at identity, as the reactor hears of it. */
export interface GrantChange {
  readonly source: string;
  readonly position: number;
  readonly principal: string;
  readonly key?: string;
  readonly removed: boolean;
}

/**
 * Notes that roles changed; a change already noted, or older than the one noted of the same source, decides nothing. A vault that is
 * deleted notes it too: once it is recovered, an answer of identity from before is known to be one.
 */
export const noteGrantChange =
  (at: Instant, change: GrantChange) =>
  (vault: Vault): readonly VaultEvent[] => {
    const counts = vault.status === 'active' || vault.status === 'deleted';
    if (!counts || (vault.grantChanges[change.source] ?? 0) >= change.position) return [];
    return [{ type: 'GrantsChanged', ...change, at }];
  };

/** What identity said about a use of a key. */
export interface IdentityAnswer {
  readonly principal: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  readonly removed: boolean;
  /** Place in identity's feed as of which it holds. */
  readonly position: number;
}

/**
 * Notes what identity answered about a use of a key, where that is another answer than the last one noted; only a
 * refusal is worth a first note. An answer that was overtaken is not noted, for its number would make it the newest: by a
 * switch to access policies, which makes roles count for nothing, or by a later change at identity that the vault has seen.
 * @param isGone whether the principal is gone: that counts under each permission model
 */
export const noteIdentityAnswer =
  (at: Instant, answer: IdentityAnswer, isGone = false) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status !== 'active' || answer.position < identityKnownTo(vault)) return [];
    if (vault.permissionModel !== 'role_assignment' && !isGone) return [];
    const isRefused = (vault.refusedAnswers ?? []).includes(answerOf(answer.principal, answer.key));
    return isRefused === answer.removed ? [] : [{ type: 'IdentityAnswerTurned', ...answer, at }];
  };

/** Deletes a vault; it can be recovered until `purgeAt` (KV-66). */
export const remove =
  (at: Instant, dayMs: number) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status === 'deleted' || vault.status === 'purging') return [];
    return [{ type: 'VaultDeleted', purgeAt: at + existing(vault).retentionDays * dayMs, at }];
  };

/** Brings a deleted vault back with its keys and access policies (KV-66). @throws Rejection VAULT_NOT_FOUND */
export const recover =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status === 'active') return [];
    if (vault.status === 'deleted') return [{ type: 'VaultRecovered', at }];
    throw vaultNotFound();
  };

/**
 * Begins the purge of a deleted vault. Once its time has come the service does that also under protection (KV-63).
 * @throws Rejection FAILED_PRECONDITION VAULT_NOT_DELETED, PURGE_PROTECTED (KV-94)
 */
export const beginPurge =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status === 'purging' || vault.status === 'purged') return [];
    if (vault.status === 'active') {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'VAULT_NOT_DELETED',
        'only a deleted vault can be purged: delete it first',
      );
    }
    if (vault.status === 'absent') throw vaultNotFound();
    if (vault.purgeProtected && at < vault.purgeAt) {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'PURGE_PROTECTED',
        `Operation 'DeletedVaultPurge' is not allowed: the vault is purge protected until ${new Date(vault.purgeAt).toISOString()}`,
        { scheduled_purge_time: new Date(vault.purgeAt).toISOString() },
      );
    }
    return [{ type: 'VaultPurgeBegun', at }];
  };

/** Begins the purge of a vault that was deleted long enough (KV-63). */
export const doDue =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    vault.status === 'deleted' && at >= vault.purgeAt ? beginPurge(at)(vault) : [];

/** Ends the purge, when no key is left. */
export const finishPurge =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    vault.status === 'purging' ? [{ type: 'VaultPurged', at }] : [];

/** The answer for a vault that is not there, or no longer. */
export const vaultNotFound = (vaultId?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'VAULT_NOT_FOUND',
    vaultId === undefined ? 'no such vault' : `vaults/${vaultId} does not exist`,
    vaultId === undefined ? {} : { vault: `vaults/${vaultId}` },
  );

/** The answer for a vault that is deleted: nothing in it can be used until it is recovered (KV-66). */
export const vaultDeleted = (vaultId?: string): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'VAULT_DELETED',
    `${vaultId === undefined ? 'the vault' : `vaults/${vaultId}`} is deleted: recover it first`,
    vaultId === undefined ? {} : { vault: `vaults/${vaultId}` },
  );

const existing = (vault: Vault): Exclude<Vault, { status: 'absent' | 'purged' }> => {
  if (vault.status === 'absent' || vault.status === 'purged') throw vaultNotFound();
  return vault;
};

const active = (vault: Vault): ActiveVault => {
  const standing = existing(vault);
  if (standing.status !== 'active') throw vaultDeleted();
  return standing;
};

const checkPolicyCount = (count: number): void => {
  if (count <= accessPoliciesMax) return;
  throw new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_ACCESS_POLICIES',
    `a vault has access policies for at most ${accessPoliciesMax} principals; give roles to groups of resources instead`,
    { limit: String(accessPoliciesMax) },
  );
};
