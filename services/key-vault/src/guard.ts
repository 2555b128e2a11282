import { type Category, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  type Decision,
  type Principal,
  principalOf,
  requirePermission,
} from '@interlock/rpc';
import type { AuditDraft } from './audit/log.ts';
import { vaultDeleted, vaultNotFound } from './vault/decider.ts';
import type { KeyPermission, VaultEvent } from './vault/events.ts';
import { type ActiveVault, isStanding, type StandingVault, type Vault } from './vault/vault.ts';

/** What a role must allow for the management of vaults; for keys it is `keyVault/keys/<permission>`. */
export type VaultAction =
  | 'keyVault/vaults/read'
  | 'keyVault/vaults/write'
  | 'keyVault/vaults/delete'
  | 'keyVault/vaults/purge';

/**
 * Decides who may do what (KV-70…KV-75). Grants are looked up at every request; only answers of identity about roles and
 * principals are remembered, for as long as `AUTHZ_TTL_MS` says.
 */
export interface Guard {
  /**
   * A vault whose keys the caller may do something with. The order is: does the vault exist, may the caller, is the vault
   * there; so nobody without permission learns anything about its keys.
   * @throws Rejection NOT_FOUND VAULT_NOT_FOUND; PERMISSION_DENIED ACCESS_DENIED (KV-82, KV-83), IDENTITY_DELETED for a
   *   managed identity that is gone; UNAUTHENTICATED PRINCIPAL_DELETED; FAILED_PRECONDITION VAULT_DELETED
   */
  keyVault(
    vaultId: string,
    key: string | undefined,
    permission: KeyPermission,
    call: Call,
    entry: AuditDraft,
  ): Promise<ActiveVault>;
  /** The same for a vault at hand, which may be deleted: what its keys are still good for is decided afterwards. */
  permit(
    vaultId: string,
    vault: StandingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    call: Pick<Call, 'caller'>,
  ): Promise<void>;
  /** A vault the caller may manage: always by role (KV-70). May be deleted. @throws Rejection as above */
  managedVault(
    vaultId: string,
    action: VaultAction,
    call: Pick<Call, 'caller'>,
    entry: AuditDraft,
  ): Promise<StandingVault>;
}

/** Scope of roles on a vault, or on one of its keys (KV-73). @param key `vaults/<v>/keys/<k>` */
export const scopeOf = (vault: Pick<StandingVault, 'resourceGroup'>, vaultId: string, key?: string): string =>
  `${vault.resourceGroup}/${key ?? `vaults/${vaultId}`}`;

/** Makes the guard. */
export const createGuard = (parts: {
  readonly vaults: Category<Vault, VaultEvent>;
  readonly authorize: Authorizer;
}): Guard => {
  const { vaults, authorize } = parts;

  const standing = async (vaultId: string, entry: AuditDraft): Promise<StandingVault> => {
    const { state } = await vaults.load(vaultId);
    if (!isStanding(state)) throw vaultNotFound(vaultId);
    entry.inVault(vaultId);
    return state;
  };

  /** Which of the permissions the caller lacks. */
  const missing = async (
    vaultId: string,
    vault: StandingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    principal: Principal,
  ): Promise<readonly KeyPermission[]> => {
    const scope = scopeOf(vault, vaultId, key);
    const ask = async (permission: KeyPermission): Promise<Decision> => {
      const decision = await authorize(principal, `keyVault/keys/${permission}`, scope);
      if (!decision.principalActive) throw principalDeleted(principal);
      return decision;
    };
    if (vault.permissionModel === 'role_assignment') {
      const decisions = await Promise.all(permissions.map(ask));
      return permissions.filter((_, index) => decisions[index]?.allowed !== true);
    }
    // Roles on keys count for nothing here; identity is asked only whether the principal still exists.
    const [first] = permissions;
    if (first !== undefined) await ask(first);
    const isOwnTenant = `tenants/${principal.tenant}` === vault.tenant;
    const held: readonly KeyPermission[] = isOwnTenant ? (vault.accessPolicies[principal.name] ?? []) : [];
    return permissions.filter((permission) => !held.includes(permission) && !held.includes('all'));
  };

  const permit: Guard['permit'] = async (vaultId, vault, key, permissions, call) => {
    const principal = principalOf(call);
    const lacking = await missing(vaultId, vault, key, permissions, principal);
    if (lacking.length === 0) return;
    // The grants of a deleted vault are not what is in the way, and its roles may be gone with it (KV-66).
    if (vault.status !== 'active') throw vaultDeleted(vaultId);
    throw denied(vaultId, vault, key, lacking, principal);
  };

  return {
    permit,
    async keyVault(vaultId, key, permission, call, entry) {
      const vault = await standing(vaultId, entry);
      if (key !== undefined) entry.about(key);
      await permit(vaultId, vault, key, [permission], call);
      if (vault.status !== 'active') throw vaultDeleted(vaultId);
      return vault;
    },
    async managedVault(vaultId, action, call, entry) {
      const vault = await standing(vaultId, entry);
      await requirePermission(authorize, principalOf(call), action, scopeOf(vault, vaultId));
      return vault;
    },
  };
};

const denied = (
  vaultId: string,
  vault: StandingVault,
  key: string | undefined,
  lacking: readonly KeyPermission[],
  principal: Principal,
): Rejection => {
  const permission = lacking.join(',');
  const metadata = { principal: principal.name, permission, vault: `vaults/${vaultId}` };
  if (vault.permissionModel === 'access_policy') {
    return new Rejection(
      'PERMISSION_DENIED',
      'ACCESS_DENIED',
      `The user, group or application '${principal.name}' does not have keys ${permission} permission on key vault '${vaultId};location=${vault.location}'.`,
      metadata,
    );
  }
  const scope = scopeOf(vault, vaultId, key);
  const actions = lacking.map((one) => `keyVault/keys/${one}`).join(',');
  return new Rejection(
    'PERMISSION_DENIED',
    'ACCESS_DENIED',
    `Caller is not authorized to perform action on resource. Caller: '${principal.name}'. Action: '${actions}'. Vault: 'vaults/${vaultId}'. Scope: '${scope}'.`,
    { ...metadata, action: actions, scope },
  );
};

/** For a set's identity that is an answer about its access; anybody else has to show another token. */
const principalDeleted = ({ kind, name }: Principal): Rejection =>
  kind === 'managed_identity'
    ? new Rejection('PERMISSION_DENIED', 'IDENTITY_DELETED', `the identity ${name} no longer exists`, {
        principal: name,
      })
    : new Rejection(
        'UNAUTHENTICATED',
        'PRINCIPAL_DELETED',
        `the caller ${name} no longer exists: its tokens are not accepted`,
        { principal: name },
      );
