import { KeyVaultEvent } from '@interlock/contracts/interlock/key_vault/v1/key_vault_events.ts';
import type { Category } from '@interlock/event-store';
import { type Handlers, NO_EFFECT } from '@interlock/messaging';
import type { Clock } from '@interlock/runtime';
import { type RoleAssignment, remove } from './role-assignment/decider.ts';
import type { RoleAssignmentEvent } from './role-assignment/events.ts';

/**
 * What identity does about key-vault's facts: with a vault the roles given on it and on its keys are gone, and recovering
 * the vault does not bring them back (KV-66, CMK-133).
 */
export const reactor = (parts: {
  readonly clock: Clock;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
}): Handlers => ({
  VaultDeleted: async (fact, { cause }) => {
    const { event } = KeyVaultEvent.decode(fact.payload);
    if (event?.$case !== 'vaultDeleted') return NO_EFFECT;
    // Names of vaults are unique everywhere (KV-02), so the segment alone says which one a scope lies on.
    const segment = `/${event.value.vault}/`;
    // Heard late, it is not about roles given since: the vault may be recovered by now, or another one of its name.
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
