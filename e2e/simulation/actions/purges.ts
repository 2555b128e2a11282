import { group, keyOf, location, plannedSets, plannedVaults, setName, vaultOf } from '../workload/estate.ts';
import { grant } from '../workload/grants.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';
import { assignTo, resume } from './sets.ts';

/** Sets whose key is purged while it is in use: small ones, so that most of the estate stays readable. */
const purgedSets = ['lodge', 'barn', 'mill'] as const;

/** How long to wait for a move to a new key, and the pause between two checks, in milliseconds. If it takes longer, the old key is kept. */
const moveMaxMs = 30_000;
const lookMs = 1_000;

/** Deletes a key and destroys it (CMK-108). */
const purge = async (stage: Stage, name: string): Promise<void> => {
  const { clients, random, world } = stage;
  const request = { name, confirmName: name };
  const { outcome } = await attempt(stage, 'key.delete', name, () => clients.keyVault.deleteKey(request));
  if (outcome.kind === 'refused') return;
  if (random.chance(0.5)) await world.clock.sleep(random.fraction() * 8_000);
  const { outcome: purged } = await attempt(stage, 'key.purge', name, () => clients.keyVault.purgeKey(request));
  if (purged.kind === 'ok') stage.counts.revocations += 1;
};

/** Creates a key. @returns its first version; undefined if that failed */
const makeKey = async (stage: Stage, parent: string): Promise<string | undefined> => {
  const { clients, random } = stage;
  const keyId = `k-${stage.nextNumber()}`;
  const { value } = await attempt(stage, 'key.create', `${parent}/keys/${keyId}`, () =>
    clients.keyVault.createKey({ parent, keyId, requestId: random.uuid() }),
  );
  return value?.name;
};

/**
 * Everything under the key is lost, and all services report that. Sometimes the set gets another key: new disks use it,
 * but old ones cannot move to it, with or without an owner's authorization (CMK-108).
 */
const purgeInUse: Action = {
  name: 'key.purge',
  weight: 0.5,
  async run(stage) {
    const { random, truth, world } = stage;
    const set = setName(random.pick(purgedSets));
    const known = truth.losses.sets.get(set);
    if (!known || known.isDeleted) return;
    const old = keyOf(known.activeKey);
    await purge(stage, old);
    if (random.chance(0.5)) return;
    await world.clock.sleep(random.fraction() * 5_000);
    const next = await makeKey(stage, vaultOf(old));
    if (next === undefined) return;
    await assignTo(stage, set, next, random.chance(0.5));
    if (random.chance(0.5)) await resume(stage, set, true);
  },
};

/** Deletes a vault and purges it with every key in it, unless a large set would be lost (CMK-108, KV-66). */
const purgeVault: Action = {
  name: 'vault.purge',
  weight: 0.3,
  async run(stage) {
    const { clients, random, truth, world, counts } = stage;
    const { sets } = truth.losses;
    const vaultsOf = (set: string): readonly string[] => {
      const known = sets.get(setName(set));
      return known && !known.isDeleted ? [known.activeKey, ...known.previousKeys].map(vaultOf) : [];
    };
    const set = random.pick(purgedSets);
    const [name] = vaultsOf(set);
    const isSpared = plannedSets.some(
      ({ id }) => !purgedSets.some((one) => one === id) && vaultsOf(id).includes(name ?? ''),
    );
    if (name === undefined || isSpared) return;
    const request = { name, confirmName: name };
    const { outcome } = await attempt(stage, 'vault.delete', name, () => clients.keyVault.deleteVault(request));
    if (outcome.kind === 'refused') return;
    if (random.chance(0.5)) await world.clock.sleep(random.fraction() * 8_000);
    const { outcome: purged } = await attempt(stage, 'vault.purge', name, () => clients.keyVault.purgeVault(request));
    if (purged.kind !== 'ok') return;
    counts.revocations += 1;
    if (random.chance(0.6)) stage.later(random.fraction() * 8_000, () => remake(stage, name, setName(set)));
  },
};

/**
 * Creates a vault and a key under the names of purged ones, for the set that lost them. They are different ones: what was under
 * the old ones stays lost, also for users of the new ones (CMK-108).
 */
const remake = async (stage: Stage, name: string, set: string): Promise<void> => {
  const { clients, random, truth, world } = stage;
  const known = truth.losses.sets.get(set);
  if (!known || vaultOf(known.activeKey) !== name) return;
  const vaultId = name.slice('vaults/'.length);
  const { outcome } = await attempt(stage, 'vault.create', name, () =>
    clients.keyVault.createVault({
      vaultId,
      resourceGroup: group,
      location,
      permissionModel: plannedVaults.find(({ id }) => id === vaultId)?.model ?? 'ACCESS_POLICY',
      accessPolicies: [{ principal: world.people.administrator.name, keyPermissions: ['ALL'] }],
      softDeleteRetentionDays: 7,
    }),
  );
  if (outcome.kind === 'refused') return;
  const [, keyId = ''] = keyOf(known.activeKey).split('/keys/');
  const { value: made } = await attempt(stage, 'key.create', `${name}/keys/${keyId}`, () =>
    clients.keyVault.createKey({ parent: name, keyId, requestId: random.uuid() }),
  );
  if (random.chance(0.7)) await grant(stage, name, known.principal);
  if (made && random.chance(0.7)) await assignTo(stage, set, made.name, random.chance(0.5));
};

/** Keys that a set reports to need, as any caller can read. Undefined if one did not respond. */
const neededKeys = async (stage: Stage): Promise<ReadonlySet<string> | undefined> => {
  const needed = new Set<string>();
  for (const { id } of plannedSets) {
    const name = setName(id);
    const { value } = await attempt(stage, 'set.get', name, () => stage.clients.sets.getDiskEncryptionSet({ name }));
    if (!value?.activeKey) return undefined;
    for (const { keyVersion } of [value.activeKey, ...value.previousKeys]) needed.add(keyOf(keyVersion));
  }
  return needed;
};

/**
 * Gives a set its own key and purges the old one once every set shows that it does not need it: an owner who relies on
 * that loses nothing (G6).
 */
const replaceKey: Action = {
  name: 'set.replaceKey',
  weight: 0.5,
  async run(stage) {
    const { random, truth, world } = stage;
    const set = setName(random.pick(plannedSets).id);
    const known = truth.losses.sets.get(set);
    if (!known || known.isDeleted) return;
    const old = keyOf(known.activeKey);
    const next = await makeKey(stage, vaultOf(old));
    if (next === undefined) return;
    await assignTo(stage, set, next, true);
    for (let waitedMs = 0; waitedMs < moveMaxMs && !stage.isEnding(); waitedMs += lookMs) {
      await world.clock.sleep(lookMs);
      const needed = await neededKeys(stage);
      if (!needed || needed.has(old)) continue;
      await purge(stage, old);
      return;
    }
  },
};

/** Actions that purge keys. */
export const purgeActions: readonly Action[] = [purgeInUse, purgeVault, replaceKey];
