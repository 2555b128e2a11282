import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { KeyVersion_Operation } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { encryptionRole } from '../../cloud/key-state.ts';
import { group, type PlannedSet, plannedVaults, setName, vaultOf } from './estate.ts';
import { attempt, type Stage } from './stage.ts';

const grantAll = (set: PlannedSet, stage: Stage, vault: string): Promise<unknown> =>
  grant(stage, vault, stage.truth.losses.sets.get(setName(set.id))?.principal ?? '');

/** How often a role is assigned to an identity that is still being created, and the pause between two attempts, in milliseconds. */
const grantTriesMax = 6;
const grantPauseMs = 500;

/** Whether the vault uses role assignments, by the plan. */
export const isByRole = (vault: string): boolean =>
  plannedVaults.some(({ id, model }) => `vaults/${id}` === vault && model === 'ROLE_ASSIGNMENT');

/** Gives a set's identity the permissions that it needs in a vault, by the planned permission model of the vault. */
export const grant = async (stage: Stage, vault: string, principal: string): Promise<void> => {
  const { clients, world, truth } = stage;
  if (principal === '') return;
  if (!isByRole(vault)) {
    const accessPolicy = { principal, keyPermissions: [...setPermissionsOnWire] };
    await attempt(stage, 'vault.grant', `${vault} to ${principal}`, () =>
      clients.keyVault.setAccessPolicy({ name: vault, accessPolicy }),
    );
    return;
  }
  for (let tries = 1; truth.losses.access.rolesOf(principal).length === 0 && tries <= grantTriesMax; tries += 1) {
    if (tries > 1) await world.clock.sleep(grantPauseMs);
    const { outcome } = await attempt(stage, 'role.assign', `${vault} to ${principal}`, () =>
      clients.identity.createRoleAssignment({
        roleAssignmentId: world.random.uuid(),
        principal,
        role: encryptionRole,
        scope: `${group}/${vault}`,
      }),
    );
    if (outcome.kind !== 'refused') return;
  }
};

/** Gives a set without an identity another one, with all permissions for its keys (CMK-38). */
export const renewIdentity = async (stage: Stage, set: PlannedSet): Promise<void> => {
  const { clients, truth } = stage;
  const name = setName(set.id);
  await attempt(stage, 'set.update', `${name} with an identity`, () =>
    clients.sets.updateDiskEncryptionSet({ name, identityType: 'SYSTEM_ASSIGNED' }),
  );
  const known = truth.losses.sets.get(name);
  if (!known) return;
  for (const vault of new Set([known.activeKey, ...known.previousKeys].map(vaultOf))) await grantAll(set, stage, vault);
};

/** Sets the operations of a version. */
export const setOperations = (stage: Stage, name: string, keyOperations: readonly KeyVersion_Operation[]) =>
  attempt(stage, 'key.setOperations', `${name} ${keyOperations.join(',') || 'nothing'}`, () =>
    stage.clients.keyVault.setKeyOperations({ name, keyOperations: [...keyOperations] }),
  );

const isDone = async (attempted: ReturnType<typeof attempt>): Promise<boolean> =>
  (await attempted).outcome.kind === 'ok';

/** Opens the network of a vault (CMK-29). */
export const openNetwork = (stage: Stage, vault: string): Promise<boolean> =>
  isDone(
    attempt(stage, 'vault.setNetwork', `${vault} open`, () =>
      stage.clients.keyVault.setNetworkRules({ name: vault, confirmName: vault }),
    ),
  );

/** Switches a vault to the planned permission model. */
export const restoreModel = (stage: Stage, vault: string): Promise<boolean> => {
  const permissionModel = isByRole(vault) ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY';
  return isDone(
    attempt(stage, 'vault.setModel', `${vault} ${permissionModel}`, () =>
      stage.clients.keyVault.setPermissionModel({ name: vault, permissionModel, confirmName: vault }),
    ),
  );
};
