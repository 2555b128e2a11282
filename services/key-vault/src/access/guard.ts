import { setPermissions } from '@interlock/access';
import { type Category, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  type Decision,
  type Principal,
  principalOf,
  requirePermission,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { AuditDraft } from '../audit/draft.ts';
import { recordIdentityAnswer, vaultDeleted } from '../vault/decider.ts';
import type { KeyPermission, VaultEvent } from '../vault/events.ts';
import { type ActiveVault, answerOf, type ExistingVault, exists, identityKnownTo, type Vault } from '../vault/vault.ts';
import { checkNetwork } from './network.ts';
import { deniedToOtherTenant, isOfAnotherTenant, missingVault } from './other-tenant.ts';

/** What a role must allow for the management of vaults; for keys it is `keyVault/keys/<permission>`. */
export type VaultAction =
  | 'keyVault/vaults/read'
  | 'keyVault/vaults/write'
  | 'keyVault/vaults/delete'
  | 'keyVault/vaults/purge';

/** Scope of roles on a vault, or on one of its keys (KV-73). @param key `vaults/<v>/keys/<k>` */
export const scopeOf = (vault: Pick<ExistingVault, 'resourceGroup'>, vaultId: string, key?: string): string =>
  `${vault.resourceGroup}/${key ?? `vaults/${vaultId}`}`;

interface Judgement {
  /** Whether the principal was deleted. */
  readonly isGone: boolean;
  readonly lacking: readonly KeyPermission[];
  /** Position in identity's feed of the decision; absent if the vault's own policies decided. */
  readonly identityAsOf?: number;
}

/** What the guard needs. */
export interface GuardParts {
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly authorize: Authorizer;
}

/**
 * Decides which principal may do what (KV-70…KV-75). Grants are read at every request; only identity's replies about roles and
 * principals are cached, for `AUTHZ_TTL_MS`.
 */
export class Guard {
  readonly #parts: GuardParts;

  constructor(parts: GuardParts) {
    this.#parts = parts;
  }

  /** What the caller learns of a vault that does not exist. See `missingVault`. */
  missing(vaultId: string, call: Pick<Call, 'caller'>): Promise<Rejection> {
    return missingVault(this.#parts.authorize, principalOf(call), vaultId);
  }

  /**
   * A vault whose keys the caller may use. The order of checks is: the vault exists, the caller is permitted, the vault is
   * active; so a caller without permission learns nothing about its keys.
   * A caller of another tenant gets the same ACCESS_DENIED whether the vault exists or not.
   * @throws Rejection NOT_FOUND VAULT_NOT_FOUND; PERMISSION_DENIED ACCESS_DENIED (KV-82, KV-83), IDENTITY_DELETED for a
   *   deleted managed identity, unless the vault is deleted; UNAUTHENTICATED PRINCIPAL_DELETED; FAILED_PRECONDITION VAULT_DELETED
   */
  async keyVault(
    vaultId: string,
    key: string | undefined,
    permission: KeyPermission,
    call: Call,
    entry: AuditDraft,
  ): Promise<ActiveVault> {
    const vault = await this.#existingVault(vaultId, call, entry);
    if (key !== undefined) entry.about(key);
    await this.permit(vaultId, vault, key, [permission], call);
    if (vault.status !== 'active') throw vaultDeleted(vaultId);
    return vault;
  }

  /**
   * The same for a vault that was read, and that may be deleted: the caller decides what its keys can still be used for.
   * @param call without `peer` if its caller did not come over the network to the vault: network rules do not count then
   * @param obstacle what else blocks the key. It precedes a missing permission for a caller that has some of the permissions;
   *   a caller without any does not learn it (KV-82)
   * @throws Rejection PERMISSION_DENIED ACCESS_DENIED, also for the network (KV-84 to KV-86), which is judged first
   * @returns `returned` if identity's last recorded reply was a refusal, and this grant was recorded now
   */
  async permit(
    vaultId: string,
    vault: ExistingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    call: Pick<Call, 'caller' | 'cause'> & { readonly peer?: string },
    obstacle?: Rejection,
  ): Promise<'permitted' | 'returned'> {
    const principal = principalOf(call);
    // A caller of another tenant learns nothing of the vault.
    if (call.peer !== undefined && !isOfAnotherTenant(principal, vault))
      checkNetwork(vaultId, vault, principal, call.peer);
    const judgement = await this.#judge(vaultId, vault, key, permissions, principal);
    const { isGone, lacking, identityAsOf } = judgement;
    const isWhole = permissions.length === setPermissions.length;
    const isTurned =
      key !== undefined &&
      identityAsOf !== undefined &&
      (await this.#record(vaultId, vault, key, { isGone, lacking, identityAsOf }, isWhole, call));
    // A deleted vault records no answer of identity, so this refusal would name no cause (G10): for a set, the next one is for the vault.
    const isOfSet = principal.kind === 'managed_identity';
    if (isGone && !(isOfSet && vault.status !== 'active')) throw principalDeleted(principal);
    if (lacking.length === 0) return isTurned ? 'returned' : 'permitted';
    if (obstacle && lacking.length < permissions.length) throw obstacle;
    if (isOfAnotherTenant(principal, vault)) throw deniedToOtherTenant(principal.name, vaultId);
    // A deleted vault is refused for its deletion: its roles may be deleted with it (KV-66).
    if (vault.status !== 'active') throw vaultDeleted(vaultId);
    throw denied(vaultId, vault, key, lacking, principal);
  }

  /** A vault the caller may manage: always by role (KV-70). May be deleted. @throws Rejection as above */
  async managedVault(
    vaultId: string,
    action: VaultAction,
    call: Pick<Call, 'caller'>,
    entry: AuditDraft,
  ): Promise<ExistingVault> {
    const { authorize } = this.#parts;
    const vault = await this.#existingVault(vaultId, call, entry);
    const principal = principalOf(call);
    const scope = scopeOf(vault, vaultId);
    if (isOfAnotherTenant(principal, vault)) {
      const { allowed, principalActive } = await authorize(principal, action, scope);
      if (principalActive && !allowed) throw deniedToOtherTenant(principal.name, vaultId);
    }
    await requirePermission(authorize, principal, action, scope);
    return vault;
  }

  async #existingVault(vaultId: string, call: Pick<Call, 'caller'>, entry: AuditDraft): Promise<ExistingVault> {
    const { state } = await this.#parts.vaults.load(vaultId);
    if (!exists(state)) throw await this.missing(vaultId, call);
    entry.inVault(vaultId, state.createdAt);
    return state;
  }

  /** Which permissions the caller lacks. A reply of identity that is older than a change that the vault knows does not count (G1). */
  async #judge(
    vaultId: string,
    vault: ExistingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    principal: Principal,
  ): Promise<Judgement> {
    const { authorize } = this.#parts;
    const atLeast = identityKnownTo(vault);
    const byRole = vault.permissionModel === 'role_assignment';
    // In a vault with access policies roles do not count: identity only says whether the principal exists, which does not
    // depend on the permission or the scope.
    const asked: readonly KeyPermission[] = byRole ? permissions : ['get'];
    const scope = byRole ? scopeOf(vault, vaultId, key) : '/';
    const decide = (permission: KeyPermission): Promise<Decision> =>
      authorize(principal, `keyVault/keys/${permission}`, scope, atLeast);
    // The reply to the first mostly holds for the others: a role that allows one of them allows all.
    const first = await Promise.all(asked.slice(0, 1).map(decide));
    const decisions = [...first, ...(await Promise.all(asked.slice(1).map(decide)))];
    const position = Math.min(...decisions.map((decision) => decision.position ?? 0));
    if (decisions.some(({ principalActive }) => !principalActive)) {
      return { isGone: true, lacking: permissions, identityAsOf: position };
    }
    if (byRole) {
      const lacking = permissions.filter((_, index) => decisions[index]?.allowed !== true);
      return { isGone: false, lacking, identityAsOf: position };
    }
    const isOwnTenant = `tenants/${principal.tenant}` === vault.tenant;
    const held: readonly KeyPermission[] = isOwnTenant ? (vault.accessPolicies[principal.name] ?? []) : [];
    const lacking = permissions.filter((permission) => !held.includes(permission) && !held.includes('all'));
    return { isGone: false, lacking };
  }

  /**
   * Records that identity's reply about a set's identity changed, so that a loss without a fact has a number, and its return a
   * higher one. Only `CheckAccess` and a rewrap need every permission, so only their grant ends a recorded refusal.
   */
  async #record(
    vaultId: string,
    vault: ExistingVault,
    key: string,
    judgement: Required<Judgement>,
    isWhole: boolean,
    call: Pick<Call, 'caller' | 'cause'>,
  ): Promise<boolean> {
    const { clock, vaults } = this.#parts;
    const { name: principal, kind } = principalOf(call);
    const removed = judgement.isGone || setPermissions.some((permission) => judgement.lacking.includes(permission));
    const wasRefused = (vault.refusedAnswers ?? []).includes(answerOf(principal, key));
    if (kind !== 'managed_identity' || removed === wasRefused || (!removed && !isWhole)) return false;
    const answer = { principal, key, removed, position: judgement.identityAsOf };
    const { events, state } = await vaults.transact(
      vaultId,
      recordIdentityAnswer(clock.now(), answer, judgement.isGone),
      call.cause,
    );
    // The vault recorded the change behind the reply after it was read: that is the loss, and the refusal would have neither its
    // number nor its trace.
    const isRecorded = exists(state) && identityKnownTo(state) > identityKnownTo(vault);
    if (removed && events.length === 0 && isRecorded) throw seenBefore(vaultId);
    return events.length > 0;
  }
}

/** Makes the guard. */
export const createGuard = (parts: GuardParts): Guard => new Guard(parts);

/** The vault has to be read again. A caller gets this only after several attempts. */
const seenBefore = (vaultId: string): Rejection =>
  new Rejection('ABORTED', 'VAULT_CHANGED', `vaults/${vaultId} changed while the call was judged: try again`, {
    vault: `vaults/${vaultId}`,
  });

/** Whether a judgement failed only because the vault has changed since it was read. */
export const isOfEarlierLook = (error: unknown): boolean =>
  error instanceof Rejection && error.reason === 'VAULT_CHANGED';

const denied = (
  vaultId: string,
  vault: ExistingVault,
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

/** For a set's identity that is a response about its access; any other caller has to show another token. */
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
