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
import {
  type ActiveVault,
  answerOf,
  identityKnownTo,
  isStanding,
  type StandingVault,
  type Vault,
} from '../vault/vault.ts';
import { deniedToStranger, isStranger, missingVault } from './stranger.ts';

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
  /** What the caller learns of a vault that does not exist. See `missingVault`. */
  missing(vaultId: string, call: Pick<Call, 'caller'>): Promise<Rejection>;
  /**
   * A vault whose keys the caller may do something with. The order is: does the vault exist, may the caller, is the vault
   * there; so a caller without permission learns nothing about its keys.
   * A caller of another tenant gets the same ACCESS_DENIED whether the vault exists or not.
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
  /**
   * The same for a vault at hand, which may be deleted: what its keys are still good for is decided afterwards.
   * @param obstacle what is in the way of the key besides; it precedes missing permissions for a caller who has some of
   *   them, and one who has none learns nothing of it (KV-82)
   * @returns `returned` where the last answer of identity on record was a no, and this yes was noted now
   */
  permit(
    vaultId: string,
    vault: StandingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    call: Pick<Call, 'caller' | 'cause'>,
    obstacle?: Rejection,
  ): Promise<'permitted' | 'returned'>;
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

/** What a set's identity needs on a key, all three. Rule CMK-25. */
export const diskPermissions: readonly KeyPermission[] = ['get', 'wrapKey', 'unwrapKey'];

interface Judgement {
  /** The principal does not exist any more. */
  readonly isGone: boolean;
  readonly lacking: readonly KeyPermission[];
  /** Place in identity's feed as of which it decided; absent where the vault's own policies did. */
  readonly identityAsOf?: number;
}

/** Makes the guard. */
export const createGuard = (parts: {
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly authorize: Authorizer;
}): Guard => {
  const { clock, vaults, authorize } = parts;

  const missing: Guard['missing'] = (vaultId, call) => missingVault(authorize, principalOf(call), vaultId);

  const standing = async (vaultId: string, call: Pick<Call, 'caller'>, entry: AuditDraft): Promise<StandingVault> => {
    const { state } = await vaults.load(vaultId);
    if (!isStanding(state)) throw await missing(vaultId, call);
    entry.inVault(vaultId, state.createdAt);
    return state;
  };

  /**
   * Which of the permissions the caller lacks, and what identity said: `position` of its answers, where it decides.
   * A reply older than a change that the vault knows does not count (G1).
   */
  const judge = async (
    vaultId: string,
    vault: StandingVault,
    key: string | undefined,
    permissions: readonly KeyPermission[],
    principal: Principal,
  ): Promise<Judgement> => {
    const atLeast = identityKnownTo(vault);
    const byRole = vault.permissionModel === 'role_assignment';
    // In an access policy vault roles count for nothing; identity is asked only whether the principal still exists, which is
    // the same question whatever it wants and wherever.
    const asked: readonly KeyPermission[] = byRole ? permissions : ['get'];
    const scope = byRole ? scopeOf(vault, vaultId, key) : '/';
    const decide = (permission: KeyPermission): Promise<Decision> =>
      authorize(principal, `keyVault/keys/${permission}`, scope, atLeast);
    // The answer to the first mostly holds for the others too: a role that allows one of them allows all.
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
  };

  /**
   * Puts on record that identity's answer about a set's identity turned, so that a loss without a fact has a number
   * and its return one above. Only `CheckAccess` and a rewrap ask for everything, so only their yes takes a no back.
   */
  const note = async (
    vaultId: string,
    vault: StandingVault,
    key: string,
    judgement: Required<Judgement>,
    isWhole: boolean,
    call: Pick<Call, 'caller' | 'cause'>,
  ): Promise<boolean> => {
    const { name: principal, kind } = principalOf(call);
    const removed = judgement.isGone || judgement.lacking.some((permission) => diskPermissions.includes(permission));
    const wasRefused = (vault.refusedAnswers ?? []).includes(answerOf(principal, key));
    if (kind !== 'managed_identity' || removed === wasRefused || (!removed && !isWhole)) return false;
    const answer = { principal, key, removed, position: judgement.identityAsOf };
    const { events, state } = await vaults.transact(
      vaultId,
      recordIdentityAnswer(clock.now(), answer, judgement.isGone),
      call.cause,
    );
    // The change behind the answer reached the vault between the look and the answer, and is the loss: by what was seen the
    // refusal would have neither its number nor its trace.
    const isHeard = isStanding(state) && identityKnownTo(state) > identityKnownTo(vault);
    if (removed && events.length === 0 && isHeard) throw seenBefore(vaultId);
    return events.length > 0;
  };

  const permit: Guard['permit'] = async (vaultId, vault, key, permissions, call, obstacle) => {
    const principal = principalOf(call);
    const judgement = await judge(vaultId, vault, key, permissions, principal);
    const { isGone, lacking, identityAsOf } = judgement;
    const isWhole = permissions.length === diskPermissions.length;
    const isTurned =
      key !== undefined &&
      identityAsOf !== undefined &&
      (await note(vaultId, vault, key, { isGone, lacking, identityAsOf }, isWhole, call));
    if (isGone) throw principalDeleted(principal);
    if (lacking.length === 0) return isTurned ? 'returned' : 'permitted';
    if (obstacle && lacking.length < permissions.length) throw obstacle;
    if (isStranger(principal, vault)) throw deniedToStranger(principal.name, vaultId);
    // The grants of a deleted vault are not what is in the way, and its roles may be gone with it (KV-66).
    if (vault.status !== 'active') throw vaultDeleted(vaultId);
    throw denied(vaultId, vault, key, lacking, principal);
  };

  return {
    missing,
    permit,
    async keyVault(vaultId, key, permission, call, entry) {
      const vault = await standing(vaultId, call, entry);
      if (key !== undefined) entry.about(key);
      await permit(vaultId, vault, key, [permission], call);
      if (vault.status !== 'active') throw vaultDeleted(vaultId);
      return vault;
    },
    async managedVault(vaultId, action, call, entry) {
      const vault = await standing(vaultId, call, entry);
      const principal = principalOf(call);
      const scope = scopeOf(vault, vaultId);
      if (isStranger(principal, vault)) {
        const { allowed, principalActive } = await authorize(principal, action, scope);
        if (principalActive && !allowed) throw deniedToStranger(principal.name, vaultId);
      }
      await requirePermission(authorize, principal, action, scope);
      return vault;
    },
  };
};

/** Why the vault has to be read again: never told to a caller, as long as a few looks are enough. */
const seenBefore = (vaultId: string): Rejection =>
  new Rejection('ABORTED', 'VAULT_CHANGED', `vaults/${vaultId} changed while the call was judged: try again`, {
    vault: `vaults/${vaultId}`,
  });

/** Whether a judgement failed for no other reason than that the vault has changed since it was looked at. */
export const isOfEarlierLook = (error: unknown): boolean =>
  error instanceof Rejection && error.reason === 'VAULT_CHANGED';

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
