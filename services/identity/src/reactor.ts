import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { Category } from '@interlock/event-store';
import { type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import { type RoleAssignment, remove } from './role-assignment/decider.ts';
import type { RoleAssignmentEvent } from './role-assignment/events.ts';

/** With a vault, the roles on it and on its keys are removed; recovering the vault does not restore them (KV-66, CMK-133). */
export const reactor = (parts: {
  readonly clock: Clock;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
}): Handlers => ({
  VaultDeleted: async (fact, { cause }) => {
    const { event } = KeyVaultEvent.decode(fact.payload);
    if (event?.$case !== 'vaultDeleted') return NO_EFFECT;
    // Names of vaults are unique (KV-02), so the segment alone identifies the vault of a scope.
    const segment = `/${event.value.vault}/`;
    // A late fact does not concern later roles: the vault may be recovered, or another one have its name.
    const deletedAt = fact.eventTime?.getTime() ?? Number.POSITIVE_INFINITY;
    const all = await parts.assignments.listAll({});
    const onVault = all.filter(
      ({ state }) =>
        state.status === 'assigned' && state.assignedAt <= deletedAt && `/${state.scope}/`.includes(segment),
    );
    await parts.assignments.transactMany(
      onVault.map(({ id }) => id),
      remove(parts.clock.now()),
      cause,
    );
    return NO_EFFECT;
  },
});
