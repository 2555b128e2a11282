import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { KeyVersion_Operation } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { NetworkRules } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import {
  encryptionOperations,
  encryptionRole,
  group,
  keyOf,
  type PlannedSet,
  plannedVaults,
  setName,
  vaultOf,
} from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';

/** A way to take a key away from a set, and to restore access. */
export interface Revocation {
  readonly name: string;
  readonly weight: number;
  /** @returns whether it was done */
  take(stage: Stage, set: PlannedSet, keyVersion: string): Promise<boolean>;
  give(stage: Stage, set: PlannedSet, keyVersion: string): Promise<unknown>;
}

const grantAll = (set: PlannedSet, stage: Stage, vault: string): Promise<unknown> =>
  grant(stage, vault, stage.truth.losses.sets.get(setName(set.id))?.principal ?? '');

/** How often a role is assigned to an identity that is still being created, and the pause between two attempts, in milliseconds. */
const grantTriesMax = 6;
const grantPauseMs = 500;

/** Gives a set's identity the permissions that it needs in a vault, by the planned permission model of the vault. */
export const grant = async (stage: Stage, vault: string, principal: string): Promise<void> => {
  const { clients, world, truth } = stage;
  if (principal === '') return;
  const isByRole = plannedVaults.some(({ id, model }) => `vaults/${id}` === vault && model === 'ROLE_ASSIGNMENT');
  if (!isByRole) {
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

/** A time as the API accepts it: whole seconds, like dates of keys. */
const atSecond = (instant: number): Date => new Date(Math.floor(instant / 1_000) * 1_000);

const setDates = (stage: Stage, name: string, dates: { readonly notBefore?: Date; readonly expireTime?: Date }) =>
  attempt(stage, 'key.setDates', `${name} ${JSON.stringify(dates)}`, () =>
    stage.clients.keyVault.setKeyVersionDates({ name, ...dates }),
  );

const removeRoles = async (stage: Stage, principal: string): Promise<boolean> => {
  let isAny = false;
  for (const id of stage.truth.losses.access.rolesOf(principal)) {
    const name = `roleAssignments/${id}`;
    isAny =
      (await isDone(
        attempt(stage, 'role.remove', `${name} of ${principal}`, () =>
          stage.clients.identity.deleteRoleAssignment({ name }),
        ),
      )) || isAny;
  }
  return isAny;
};

const principalOf = ({ truth }: Stage, set: PlannedSet): string =>
  truth.losses.sets.get(setName(set.id))?.principal ?? '';

const revocations: readonly Revocation[] = [
  {
    name: 'disable',
    weight: 8,
    take: (stage, _set, name) =>
      isDone(attempt(stage, 'key.disable', name, () => stage.clients.keyVault.disableKeyVersion({ name }))),
    give: (stage, _set, name) =>
      attempt(stage, 'key.enable', name, () => stage.clients.keyVault.enableKeyVersion({ name })),
  },
  {
    name: 'disable the whole key',
    weight: 4,
    take: (stage, _set, keyVersion) =>
      isDone(
        attempt(stage, 'key.disableAll', keyOf(keyVersion), () =>
          stage.clients.keyVault.disableKey({ name: keyOf(keyVersion) }),
        ),
      ),
    give: (stage, _set, keyVersion) =>
      attempt(stage, 'key.enableAll', keyOf(keyVersion), () =>
        stage.clients.keyVault.enableKey({ name: keyOf(keyVersion) }),
      ),
  },
  {
    name: 'expire',
    weight: 4,
    take: async (stage, _set, name) => {
      const expireTime = atSecond(stage.world.clock.now() + stage.random.int(6_000));
      return isDone(setDates(stage, name, { expireTime }));
    },
    give: (stage, _set, name) => setDates(stage, name, {}),
  },
  {
    name: 'not yet valid',
    weight: 2,
    take: async (stage, _set, name) =>
      isDone(setDates(stage, name, { notBefore: atSecond(stage.world.clock.now() + 60_000) })),
    give: (stage, _set, name) => setDates(stage, name, {}),
  },
  {
    name: 'delete',
    weight: 3,
    take: (stage, _set, keyVersion) =>
      isDone(
        attempt(stage, 'key.delete', keyOf(keyVersion), () =>
          stage.clients.keyVault.deleteKey({ name: keyOf(keyVersion), confirmName: keyOf(keyVersion) }),
        ),
      ),
    give: (stage, _set, keyVersion) =>
      attempt(stage, 'key.recover', keyOf(keyVersion), () =>
        stage.clients.keyVault.recoverKey({ name: keyOf(keyVersion) }),
      ),
  },
  {
    name: 'delete vault',
    weight: 2,
    take: (stage, _set, keyVersion) =>
      isDone(
        attempt(stage, 'vault.delete', vaultOf(keyVersion), () =>
          stage.clients.keyVault.deleteVault({ name: vaultOf(keyVersion), confirmName: vaultOf(keyVersion) }),
        ),
      ),
    give: async (stage, set, keyVersion) => {
      const vault = vaultOf(keyVersion);
      await attempt(stage, 'vault.recover', vault, () => stage.clients.keyVault.recoverVault({ name: vault }));
      await grantAll(set, stage, vault);
    },
  },
  {
    name: 'take the grant',
    weight: 5,
    async take(stage, set, keyVersion) {
      const vault = vaultOf(keyVersion);
      const principal = principalOf(stage, set);
      const { clients, random } = stage;
      if (plannedVaults.some(({ id, model }) => `vaults/${id}` === vault && model === 'ROLE_ASSIGNMENT')) {
        return removeRoles(stage, principal);
      }
      if (random.chance(0.5)) {
        const work = () => clients.keyVault.removeAccessPolicy({ name: vault, principal });
        return isDone(attempt(stage, 'vault.revoke', `${vault} from ${principal}`, work));
      }
      const missing = random.pick(setPermissionsOnWire);
      const keyPermissions = setPermissionsOnWire.filter((one) => one !== missing);
      const accessPolicy = { principal, keyPermissions };
      const work = () => clients.keyVault.setAccessPolicy({ name: vault, accessPolicy });
      return isDone(attempt(stage, 'vault.revoke', `${missing} in ${vault} from ${principal}`, work));
    },
    give: (stage, set, keyVersion) => grantAll(set, stage, vaultOf(keyVersion)),
  },
  {
    name: 'take an operation',
    weight: 3,
    take: (stage, _set, name) => {
      const left = encryptionOperations.filter((one) => one !== stage.random.pick(encryptionOperations));
      return isDone(setOperations(stage, name, stage.random.chance(0.2) ? [] : left));
    },
    give: (stage, _set, name) => setOperations(stage, name, encryptionOperations),
  },
  {
    name: 'take the identity',
    weight: 3,
    take(stage, set) {
      const { clients, random } = stage;
      const principal = principalOf(stage, set);
      const name = setName(set.id);
      if (principal === '') return Promise.resolve(false);
      return isDone(
        random.chance(0.6)
          ? attempt(stage, 'set.update', `${name} without identity`, () =>
              clients.sets.updateDiskEncryptionSet({ name, identityType: 'NONE' }),
            )
          : attempt(stage, 'principal.delete', `${principal} of ${name}`, () =>
              clients.identity.deletePrincipal({ name: principal, confirmName: principal }),
            ),
      );
    },
    give: (stage, set) => renewIdentity(stage, set),
  },
  {
    name: 'switch the model',
    weight: 2,
    take: (stage, _set, keyVersion) => switchModel(stage, vaultOf(keyVersion), true),
    give: (stage, _set, keyVersion) => switchModel(stage, vaultOf(keyVersion), false),
  },
  {
    name: 'close the network',
    weight: 2,
    take: (stage, _set, keyVersion) =>
      setNetwork(stage, vaultOf(keyVersion), {
        defaultAction: 'DENY',
        bypassTrustedServices: false,
        ipRules: [],
        publicAccessDisabled: stage.random.chance(0.5),
      }),
    give: (stage, _set, keyVersion) => setNetwork(stage, vaultOf(keyVersion), undefined),
  },
];

/** Closes the network of a vault, or opens it (CMK-29). While it is closed, keys cannot be managed either. */
export const setNetwork = (stage: Stage, vault: string, networkRules: NetworkRules | undefined): Promise<boolean> =>
  isDone(
    attempt(stage, 'vault.setNetwork', `${vault} ${networkRules === undefined ? 'open' : 'closed'}`, () =>
      stage.clients.keyVault.setNetworkRules({ name: vault, networkRules, confirmName: vault }),
    ),
  );

/** Switches to the other permission model, or back to the planned one. */
export const switchModel = (stage: Stage, vault: string, isAway: boolean): Promise<boolean> => {
  const planned = plannedVaults.find(({ id }) => `vaults/${id}` === vault)?.model ?? 'ACCESS_POLICY';
  const other = planned === 'ACCESS_POLICY' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY';
  const permissionModel = isAway ? other : planned;
  return isDone(
    attempt(stage, 'vault.setModel', `${vault} ${permissionModel}`, () =>
      stage.clients.keyVault.setPermissionModel({ name: vault, permissionModel, confirmName: vault }),
    ),
  );
};

/** Picks one of them, by weight. */
export const pickRevocation = ({ random }: Stage): Revocation => {
  let left = random.fraction() * revocations.reduce((sum, { weight }) => sum + weight, 0);
  return (
    revocations.find(({ weight }) => {
      left -= weight;
      return left < 0;
    }) ?? random.pick(revocations)
  );
};
