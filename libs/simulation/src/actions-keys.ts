import type { Action } from './actions.ts';
import {
  encryptionPermissions,
  encryptionRole,
  group,
  type PlannedSet,
  plannedSets,
  plannedVaults,
  setName,
} from './workload-estate.ts';
import { attempt, type Stage } from './workload-stage.ts';

/** `vaults/<v>` and `vaults/<v>/keys/<k>` of a key version. */
export const vaultOf = (keyVersion: string): string => keyVersion.split('/').slice(0, 2).join('/');
export const keyOf = (keyVersion: string): string => keyVersion.split('/versions/')[0] ?? '';

const grantAll = (set: PlannedSet, stage: Stage, vault: string): Promise<unknown> =>
  grant(stage, vault, stage.truth.losses.sets.get(setName(set.id))?.principal ?? '');

/** Gives a set's identity what it needs in a vault, by the vault's model of the plan. */
export const grant = async (stage: Stage, vault: string, principal: string): Promise<unknown> => {
  const { clients, world, truth } = stage;
  const isByRole = plannedVaults.some(({ id, model }) => `vaults/${id}` === vault && model === 'ROLE_ASSIGNMENT');
  if (!isByRole) {
    const accessPolicy = { principal, keyPermissions: [...encryptionPermissions] };
    return attempt(stage, 'vault.grant', `${vault} to ${principal}`, () =>
      clients.keyVault.setAccessPolicy({ name: vault, accessPolicy }),
    );
  }
  if (truth.losses.access.rolesOf(principal).length > 0) return undefined;
  return attempt(stage, 'role.assign', `${vault} to ${principal}`, () =>
    clients.identity.createRoleAssignment({
      roleAssignmentId: world.random.uuid(),
      principal,
      role: encryptionRole,
      scope: `${group}/${vault}`,
    }),
  );
};

/** How long a revocation lasts: an instant, less than a lease, or well beyond it. */
const holdMs = ({ random }: Stage): number => {
  const kind = random.fraction();
  if (kind < 0.15) return random.fraction() * 100;
  if (kind < 0.5) return 500 + random.fraction() * 5_000;
  return 8_000 + random.fraction() * 25_000;
};

/** A way to take a key away from a set, and the way back. */
interface Revocation {
  readonly name: string;
  readonly weight: number;
  /** @returns whether it was done */
  take(stage: Stage, set: PlannedSet, keyVersion: string): Promise<boolean>;
  give(stage: Stage, set: PlannedSet, keyVersion: string): Promise<unknown>;
}

const isDone = async (attempted: ReturnType<typeof attempt>): Promise<boolean> =>
  (await attempted).outcome.kind === 'ok';

/** A moment as the API takes it: whole seconds, as dates of keys are. */
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
      const missing = random.pick(encryptionPermissions);
      const keyPermissions = encryptionPermissions.filter((one) => one !== missing);
      const accessPolicy = { principal, keyPermissions };
      const work = () => clients.keyVault.setAccessPolicy({ name: vault, accessPolicy });
      return isDone(attempt(stage, 'vault.revoke', `${missing} in ${vault} from ${principal}`, work));
    },
    give: (stage, set, keyVersion) => grantAll(set, stage, vaultOf(keyVersion)),
  },
  {
    name: 'switch the model',
    weight: 2,
    take: (stage, _set, keyVersion) => switchModel(stage, vaultOf(keyVersion), true),
    give: (stage, _set, keyVersion) => switchModel(stage, vaultOf(keyVersion), false),
  },
];

/** To the other model, or back to that of the plan. */
export const switchModel = (stage: Stage, vault: string, isAway: boolean): Promise<boolean> => {
  const planned = plannedVaults.find(({ id }) => `vaults/${id}` === vault)?.model ?? 'ACCESS_POLICY';
  const other = planned === 'ACCESS_POLICY' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY';
  const permissionModel = isAway ? other : planned;
  return isDone(
    attempt(stage, 'vault.setModel', `${vault} ${permissionModel}`, () =>
      stage.clients.keyVault.setPermissionModel({ name: vault, permissionModel }),
    ),
  );
};

/**
 * Takes a key from a set, and gives it back after a while.
 * @param lastsMs how long; by chance when not said
 */
export const revokeForAWhile = async (stage: Stage, lastsMs = holdMs(stage)): Promise<void> => {
  const { random, truth, counts } = stage;
  const set = random.pick(plannedSets);
  const known = truth.losses.sets.get(setName(set.id));
  if (!known || known.isDeleted) return;
  // A rotation may be under way: sometimes the older version is the one that goes.
  const keyVersion = random.pick([known.activeKey, known.activeKey, ...known.previousKeys]);
  if (truth.losses.access.isGone(keyVersion)) return;
  const { take, give } = pickRevocation(stage);
  await preview(stage, keyVersion);
  if (random.chance(0.4)) await race(stage, setName(set.id));
  if (random.chance(0.8)) tryToStart(stage, setName(set.id));
  if (await take(stage, set, keyVersion)) counts.revocations += 1;
  stage.later(lastsMs, async () => {
    await give(stage, set, keyVersion);
    if (truth.losses.standing(setName(set.id), keyVersion, 'opening').length === 0) counts.returns += 1;
  });
};

/** Asks what the loss would do, and holds the answer against what runs. */
const preview = async (stage: Stage, keyVersion: string): Promise<void> => {
  const { clients, judge, random } = stage;
  if (random.chance(0.5)) return;
  const before = judge.foreseen(keyVersion);
  const request = { target: { $case: 'keyVersion', value: keyVersion }, action: 'DISABLE' } as const;
  const { value } = await attempt(stage, 'impact', keyVersion, () => clients.sets.previewImpact(request));
  if (value) judge.onPreview(keyVersion, value.impacts, before);
};

/** Machines with a disk of the set. */
const machinesUnder = ({ truth }: Stage, set: string) =>
  [...truth.machines.machines.values()].filter(({ disks }) =>
    [...disks.keys()].some((disk) => truth.disks.disks.get(disk)?.set === set),
  );

const start = (stage: Stage, name: string) =>
  attempt(stage, 'vm.start', name, () => stage.clients.compute.startVirtualMachine({ name }));

/** People ask machines under the set to do things at the very moment its key goes, and guests are in no hurry. */
const race = async (stage: Stage, set: string): Promise<void> => {
  const { random, clients, world } = stage;
  for (const { name, power } of machinesUnder(stage, set)) {
    if (random.chance(0.5)) continue;
    if (random.chance(0.5)) world.guests.slowToStart.set(name, 3_000 + random.int(8_000));
    stage.later(random.chance(0.5) ? 0 : random.fraction() * 100, () =>
      power === 'running'
        ? attempt(stage, 'vm.restart', name, () =>
            clients.compute.restartVirtualMachine({ name, requestId: random.uuid() }),
          )
        : start(stage, name),
    );
  }
  if (random.chance(0.5)) await world.clock.sleep(random.fraction() * 300);
};

/** People try to start what stopped, while the key is still away: that must fail (CMK-106). */
const tryToStart = (stage: Stage, set: string): void => {
  const { random, clients } = stage;
  stage.later(1_000 + random.fraction() * 4_000, async () => {
    for (const { name, power } of machinesUnder(stage, set)) {
      if (random.chance(0.5)) continue;
      if (power === 'stopped' || power === 'deallocated') await start(stage, name);
      else if (power === 'running' && random.chance(0.5)) {
        await attempt(stage, 'vm.restart', name, () =>
          clients.compute.restartVirtualMachine({ name, requestId: random.uuid() }),
        );
      }
    }
  });
};

const pickRevocation = ({ random }: Stage): Revocation => {
  let left = random.fraction() * revocations.reduce((sum, { weight }) => sum + weight, 0);
  return (
    revocations.find(({ weight }) => {
      left -= weight;
      return left < 0;
    }) ?? random.pick(revocations)
  );
};

const newVersion: Action = {
  name: 'key.rotate',
  weight: 2,
  async run(stage) {
    const { random, clients, truth } = stage;
    const versions = truth.losses.access.keyVersions();
    if (versions.length === 0 || versions.length > 24) return;
    const name = keyOf(random.pick(versions));
    await attempt(
      stage,
      'key.rotate',
      name,
      () => clients.keyVault.rotateKey({ name, requestId: random.uuid() }),
      (made) => made.name,
    );
  },
};

/** What owners of keys do with them. */
export const keyActions: readonly Action[] = [{ name: 'revoke', weight: 6, run: revokeForAWhile }, newVersion];
