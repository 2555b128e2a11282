import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Category, IndexEntry, Loaded } from '@interlock/event-store';
import { type FactContext, type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import { scopeOf } from './access/guard.ts';
import { type GrantChange, recordGrantChange } from './vault/decider.ts';
import type { VaultEvent } from './vault/events.ts';
import { isStanding, type StandingVault, type Vault } from './vault/vault.ts';

/**
 * What key-vault does about identity's facts: it forgets what it was told about permissions, and notes the change at each
 * vault whose grants it touches. The note is told to others, and its position is the epoch of the loss.
 */
export const reactor = (parts: {
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly forgetPermissions: () => void;
}): Handlers => {
  const { clock, vaults, forgetPermissions } = parts;

  const note = async (
    touched: readonly { readonly id: string; readonly key?: string }[],
    change: Omit<GrantChange, 'key'>,
    { cause }: FactContext,
  ) => {
    const keyOf = new Map(touched.map(({ id, key }) => [id, key]));
    const decide = (state: Vault, id: string) => {
      const key = keyOf.get(id);
      return recordGrantChange(clock.now(), key === undefined ? change : { ...change, key })(state);
    };
    await vaults.transactMany([...keyOf.keys()], decide, cause);
    return NO_EFFECT;
  };

  const roleChanged = (removed: boolean) => async (fact: Fact, context: FactContext) => {
    forgetPermissions();
    const { event } = IdentityEvent.decode(fact.payload);
    if (event?.$case !== 'roleAssigned' && event?.$case !== 'roleRemoved') return NO_EFFECT;
    // A role without power over keys changes nothing here; of a removed one nobody says what power it had.
    if (event.$case === 'roleAssigned' && event.value.dataActions.length === 0) return NO_EFFECT;
    const { roleAssignment: source, principal, scope } = event.value;
    const candidates = await vaults.listAll(candidatesIn(scope));
    const touched = candidates.flatMap((loaded) => touchedBy(scope, loaded));
    return note(touched, { source, position: fact.position, principal, removed }, context);
  };

  return {
    RoleAssigned: roleChanged(false),
    RoleRemoved: roleChanged(true),
    PrincipalDeleted: async (fact, context) => {
      forgetPermissions();
      const { event } = IdentityEvent.decode(fact.payload);
      if (event?.$case !== 'principalDeleted') return NO_EFFECT;
      const { principal } = event.value;
      const named = await vaults.listAll({ index: { index: 'principal', value: principal } });
      return note(named, { source: principal, position: fact.position, principal, removed: true }, context);
    },
  };
};

/** Vaults among which those in the scope are, by the narrowest index there is. */
const candidatesIn = (scope: string): { readonly index?: IndexEntry } => {
  const [, place] = /^(subscriptions\/[^/]+(?:\/resourceGroups\/[^/]+)?)/.exec(scope) ?? [];
  if (place !== undefined) return { index: { index: 'in_or_deleted', value: place } };
  return scope.startsWith('tenants/') ? { index: { index: 'tenant', value: scope } } : {};
};

/** Whether a role on the scope counts for the vault, or for one of its keys (KV-73). */
const touchedBy = (
  scope: string,
  { id, state }: Loaded<Vault>,
): readonly { readonly id: string; readonly key?: string }[] => {
  if (!isStanding(state) || state.permissionModel !== 'role_assignment') return [];
  const own = scopeOf(state, id);
  if (scope === '/' || scope === state.tenant || holds(scope, own)) return [{ id }];
  return holds(own, scope) ? [{ id, ...keyIn(state, scope) }] : [];
};

const holds = (outer: string, inner: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** `vaults/<v>/keys/<k>` of a scope below a vault. */
const keyIn = ({ resourceGroup }: StandingVault, scope: string): { readonly key: string } => ({
  key: scope.slice(resourceGroup.length + 1),
});
