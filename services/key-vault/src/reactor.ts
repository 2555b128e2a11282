import { IdentityEvent } from '@interlock/contracts/interlock/identity/v1/identity_events.ts';
import type { Fact } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Category, IndexEntry, Loaded } from '@interlock/event-store';
import { type FactContext, type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import { scopeOf } from './access/guard.ts';
import { type GrantChange, recordGrantChange } from './vault/decider.ts';
import type { VaultEvent } from './vault/events.ts';
import { type ExistingVault, exists, type Vault } from './vault/vault.ts';

/**
 * Applies identity's facts: drops cached permissions and records the change at each vault whose grants it concerns. The
 * recorded event is published, and its position is the epoch of the loss.
 */
export const reactor = (parts: {
  readonly clock: Clock;
  readonly vaults: Category<Vault, VaultEvent>;
  readonly forgetPermissions: () => void;
}): Handlers => {
  const { clock, vaults, forgetPermissions } = parts;

  const record = async (
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
    // A role without data actions changes nothing here. The fact of a removed role does not name its actions.
    if (event.$case === 'roleAssigned' && event.value.dataActions.length === 0) return NO_EFFECT;
    const { roleAssignment: source, principal, scope } = event.value;
    const candidates = await vaults.listAll(candidatesIn(scope));
    const touched = candidates.flatMap((loaded) => touchedBy(scope, loaded));
    return record(touched, { source, position: fact.position, principal, removed }, context);
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
      return record(named, { source: principal, position: fact.position, principal, removed: true }, context);
    },
  };
};

/** The narrowest index that contains all vaults in the scope. */
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
  if (!exists(state) || state.permissionModel !== 'role_assignment') return [];
  const own = scopeOf(state, id);
  if (scope === '/' || scope === state.tenant || holds(scope, own)) return [{ id }];
  return holds(own, scope) ? [{ id, ...keyIn(state, scope) }] : [];
};

const holds = (outer: string, inner: string): boolean => inner === outer || inner.startsWith(`${outer}/`);

/** `vaults/<v>/keys/<k>` of a scope below a vault. */
const keyIn = ({ resourceGroup }: ExistingVault, scope: string): { readonly key: string } => ({
  key: scope.slice(resourceGroup.length + 1),
});
