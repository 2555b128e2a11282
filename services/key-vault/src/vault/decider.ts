import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { KeyPermission, NewVault, PermissionModel, VaultEvent } from './events.ts';
import { isSameRules, type NetworkRules, openRules } from './network-rules.ts';
import { type ActiveVault, answerOf, identityKnownTo, type Vault } from './vault.ts';

/** Principals in the access policies of one vault. Rule KV-72. */
export const accessPoliciesMax = 1_024;

/**
 * Creates a vault; a repeated request changes nothing. The name of a purged vault is free (KV-15).
 * @throws Rejection INVALID_ARGUMENT RETENTION_INVALID (KV-61); ALREADY_EXISTS VAULT_ALREADY_EXISTS, or VAULT_NAME_HELD
 *   while a deleted vault has the name (KV-64)
 */
export const create =
  (at: Instant, wanted: NewVault) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (!Number.isInteger(wanted.retentionDays) || wanted.retentionDays < 7 || wanted.retentionDays > 90) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'RETENTION_INVALID',
        `soft_delete_retention_days must be a whole number from 7 to 90, not ${wanted.retentionDays}`,
        { field: 'soft_delete_retention_days', value: String(wanted.retentionDays) },
      );
    }
    checkPolicyCount(Object.keys(wanted.accessPolicies).length);
    if (vault.status === 'absent' || vault.status === 'purged') return [{ type: 'VaultCreated', ...wanted, at }];
    if (vault.status !== 'active') {
      throw new Rejection(
        'ALREADY_EXISTS',
        'VAULT_NAME_HELD',
        'A vault with the same name already exists in deleted state. You need to either recover or purge existing key vault.',
        { field: 'vault_id' },
      );
    }
    if (differencesOf(vault, wanted).length === 0) return [];
    throw new Rejection(
      'ALREADY_EXISTS',
      'VAULT_ALREADY_EXISTS',
      'vault_id is taken: choose another, because vault names are unique in the whole cloud',
      {
        field: 'vault_id',
      },
    );
  };

/** The fields in which a vault was created differently: `location westeurope, not eastus`. */
const differencesOf = (vault: ActiveVault, wanted: NewVault): readonly string[] => {
  const { asCreated } = vault;
  const pairs: readonly (readonly [string, string | number | boolean, string | number | boolean])[] = [
    ['resource_group', vault.resourceGroup, wanted.resourceGroup],
    ['location', vault.location, wanted.location],
    ['sku', vault.sku, wanted.sku],
    ['soft_delete_retention_days', vault.retentionDays, wanted.retentionDays],
    ['permission_model', asCreated.permissionModel, wanted.permissionModel],
    ['purge_protection_enabled', asCreated.purgeProtected, wanted.purgeProtected],
  ];
  const plain = pairs.flatMap(([field, was, now]) => (was === now ? [] : [`${field} ${was}, not ${now}`]));
  return isSamePolicies(asCreated.accessPolicies, wanted.accessPolicies) ? plain : [...plain, 'other access_policies'];
};

/**
 * The refusal of a create for a caller who may read the vault of the name: it names the differences. Other callers learn only
 * that the name is taken.
 */
export const takenByOwn = (vault: ActiveVault, wanted: NewVault): Rejection | undefined => {
  const differences = differencesOf(vault, wanted);
  if (differences.length === 0) return undefined;
  return new Rejection(
    'ALREADY_EXISTS',
    'VAULT_ALREADY_EXISTS',
    `vault_id is taken: the vault exists and was created with ${differences.join('; ')}`,
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

/** Permissions are stored sorted and without repeats. */
const isSame = (left: readonly KeyPermission[], right: readonly KeyPermission[]): boolean =>
  left.length === right.length && left.every((permission, index) => permission === right[index]);

/** Turns purge protection on; it cannot be turned off (KV-62). */
export const enablePurgeProtection =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    active(vault).purgeProtected ? [] : [{ type: 'PurgeProtectionEnabled', at }];

/**
 * Replaces the permissions of a principal (KV-72).
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

/** Removes all permissions of a principal. */
export const removeAccessPolicy =
  (at: Instant, principal: string) =>
  (vault: Vault): readonly VaultEvent[] =>
    active(vault).accessPolicies[principal] ? [{ type: 'AccessPolicyRemoved', principal, at }] : [];

/**
 * Chooses which grants count (KV-70).
 * @param mayLeaveRoles whether the caller's permission to leave the role model was checked
 * @throws Rejection ABORTED CONTENTION when the vault came under the role model after the check
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
        'another caller chose the role model for the vault meanwhile: read the vault and repeat the call',
      );
    }
    return [{ type: 'PermissionModelSet', permissionModel, at }];
  };

/** Sets from where the keys can be reached (CMK-29). */
export const setNetworkRules =
  (at: Instant, networkRules: NetworkRules) =>
  (vault: Vault): readonly VaultEvent[] =>
    isSameRules(active(vault).networkRules ?? openRules, networkRules)
      ? []
      : [{ type: 'NetworkRulesSet', networkRules, at }];

/** A change of a role or a principal at identity. */
export interface GrantChange {
  readonly source: string;
  readonly position: number;
  readonly principal: string;
  readonly key?: string;
  readonly removed: boolean;
}

/**
 * Records that roles changed; a change that is not newer than the recorded one of the same source changes nothing. A deleted
 * vault records it too, so that after its recovery older answers of identity are known to be outdated.
 */
export const recordGrantChange =
  (at: Instant, change: GrantChange) =>
  (vault: Vault): readonly VaultEvent[] => {
    const counts = vault.status === 'active' || vault.status === 'deleted';
    if (!counts || (vault.grantChanges[change.source] ?? 0) >= change.position) return [];
    return [{ type: 'GrantsChanged', ...change, at }];
  };

/** Identity's answer about a use of a key. */
export interface IdentityAnswer {
  readonly principal: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  readonly removed: boolean;
  /** Position in identity's feed at which it was given. */
  readonly position: number;
}

/**
 * Records identity's answer about a use of a key if it differs from the last recorded one; a first answer is recorded only
 * if it is a refusal. An outdated answer is not recorded, because its epoch would make it the newest: after a switch to
 * access policies, where roles do not count, or after a later change at identity that the vault has recorded.
 * @param isGone whether the principal was deleted, which counts under each permission model
 */
export const recordIdentityAnswer =
  (at: Instant, answer: IdentityAnswer, isGone = false) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status !== 'active' || answer.position < identityKnownTo(vault)) return [];
    if (vault.permissionModel !== 'role_assignment' && !isGone) return [];
    const isRefused = (vault.refusedAnswers ?? []).includes(answerOf(answer.principal, answer.key));
    return isRefused === answer.removed ? [] : [{ type: 'IdentityAnswerChanged', ...answer, at }];
  };

/** Deletes a vault; it can be recovered until `purgeAt` (KV-66). */
export const remove =
  (at: Instant, dayMs: number) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status === 'deleted' || vault.status === 'purging') return [];
    return [{ type: 'VaultDeleted', purgeAt: at + existing(vault).retentionDays * dayMs, at }];
  };

/** Recovers a deleted vault with its keys and access policies (KV-66). @throws Rejection VAULT_NOT_FOUND */
export const recover =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] => {
    if (vault.status === 'active') return [];
    if (vault.status === 'deleted') return [{ type: 'VaultRecovered', at }];
    throw vaultNotFound();
  };

/**
 * Starts the purge of a deleted vault. After its scheduled time the service does that also under purge protection (KV-63).
 * @throws Rejection FAILED_PRECONDITION VAULT_NOT_DELETED, PURGE_PROTECTED (KV-94)
 */
export const startPurge =
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
        `Operation 'DeletedVaultPurge' is not allowed: the vault is purge protected, so it cannot be purged before ${new Date(vault.purgeAt).toISOString()}`,
        { scheduled_purge_time: new Date(vault.purgeAt).toISOString() },
      );
    }
    return [{ type: 'VaultPurgeStarted', at }];
  };

/** Starts the purge of a deleted vault at its scheduled time (KV-63). */
export const doDue =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    vault.status === 'deleted' && at >= vault.purgeAt ? startPurge(at)(vault) : [];

/** Ends the purge when no key is left. */
export const finishPurge =
  (at: Instant) =>
  (vault: Vault): readonly VaultEvent[] =>
    vault.status === 'purging' ? [{ type: 'VaultPurged', at }] : [];

/** The refusal for a vault that does not exist. */
export const vaultNotFound = (vaultId?: string): Rejection =>
  new Rejection(
    'NOT_FOUND',
    'VAULT_NOT_FOUND',
    vaultId === undefined ? 'the vault does not exist' : `vaults/${vaultId} does not exist`,
    vaultId === undefined ? {} : { vault: `vaults/${vaultId}` },
  );

/** The refusal for a deleted vault: its keys cannot be used until it is recovered (KV-66). */
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
  const found = existing(vault);
  if (found.status !== 'active') throw vaultDeleted();
  return found;
};

const checkPolicyCount = (count: number): void => {
  if (count <= accessPoliciesMax) return;
  throw new Rejection(
    'RESOURCE_EXHAUSTED',
    'TOO_MANY_ACCESS_POLICIES',
    `a vault has access policies for at most ${accessPoliciesMax} principals; use the role model instead`,
    { limit: String(accessPoliciesMax) },
  );
};
