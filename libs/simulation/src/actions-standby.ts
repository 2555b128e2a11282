import type { Action } from './actions.ts';
import { purge, purgedSets } from './actions-purges.ts';
import { assignTo, keyUrlOf, resume } from './actions-sets.ts';
import { type KnownSet, standbySourceOf } from './oracle-losses.ts';
import { grant } from './revocations.ts';
import {
  keyOf,
  ownerToken,
  type PlannedSet,
  plannedSets,
  plannedVaults,
  reached,
  setName,
  vaultOf,
  waitUntil,
} from './workload-estate.ts';
import { attempt, type Stage } from './workload-stage.ts';

/** Vaults that go by policies: a grant there can be given before anybody has heard of who it is for. */
const policyVaults = plannedVaults.filter(({ model }) => model === 'ACCESS_POLICY').map(({ id }) => `vaults/${id}`);

/** Makes a key that the set's identity may use. @returns its first version; undefined where that did not come about */
const makeKey = async (stage: Stage, set: string, parent: string, prefix: string): Promise<string | undefined> => {
  const { clients, random, truth } = stage;
  const keyId = `${prefix}-${stage.nextNumber()}`;
  const { value: made } = await attempt(stage, 'key.create', `${parent}/keys/${keyId}`, () =>
    clients.keyVault.createKey({ parent, keyId, requestId: random.uuid() }),
  );
  if (made) await grant(stage, parent, truth.losses.sets.get(set)?.principal ?? '');
  return made?.name;
};

/** Names a standby key, or takes it away. @param keyVersion empty for none */
const nameStandby = (stage: Stage, name: string, keyVersion: string) =>
  attempt(stage, 'set.update', `${name} with the standby key ${keyVersion || 'none'}`, async () =>
    stage.clients.sets.updateDiskEncryptionSet({
      name,
      standbyKeyUrl: keyVersion === '' ? '' : keyUrlOf(keyVersion),
      ...(keyVersion === '' ? {} : { keyOwnerToken: await ownerToken(stage.world) }),
    }),
  );

/** Names a new key, in another vault than that of the active one. */
const nameNewStandby = async (stage: Stage, set: string, { activeKey }: KnownSet): Promise<void> => {
  const others = policyVaults.filter((vault) => vault !== vaultOf(activeKey));
  const standby = await makeKey(stage, set, stage.random.pick(others), 's');
  if (standby !== undefined) await nameStandby(stage, set, standby);
};

/** A set gets a standby key, another one, or none any more. */
const changeStandby: Action = {
  name: 'set.standby',
  weight: 1,
  async run(stage) {
    const { random, truth } = stage;
    const set = setName(random.pick(plannedSets).id);
    const known = truth.losses.sets.get(set);
    if (!known || known.isDeleted) return;
    if (known.standbyKey !== '' && random.chance(0.3)) await nameStandby(stage, set, '');
    else await nameNewStandby(stage, set, known);
  },
};

/** The first key of a set is purged, and its disks move from their wraps under the standby key (CMK-108). */
const survivePurge: Action = {
  name: 'set.survivePurge',
  weight: 0.8,
  async run(stage) {
    const { random, truth, world } = stage;
    const set = setName(random.pick(purgedSets));
    const known = truth.losses.sets.get(set);
    if (!known || known.isDeleted || truth.losses.access.isGone(known.activeKey)) return;
    if (known.standbyKey === '') await nameNewStandby(stage, set, known);
    // At times the wraps under it are not made yet.
    await world.clock.sleep(random.fraction() * 4_000);
    const { standbyKey } = known;
    if (standbyKey === '') return;
    await purge(stage, keyOf(known.activeKey));
    await world.clock.sleep(random.fraction() * 5_000);
    // To the standby key itself, or to a third one; at times the owner's word comes later, or not before the end.
    const next = random.chance(0.5) ? standbyKey : await makeKey(stage, set, random.pick(policyVaults), 'k');
    if (next === undefined) return;
    await assignTo(stage, set, next, random.chance(0.6));
    if (random.chance(0.5)) await resume(stage, set, true);
  },
};

/** What people do with standby keys. */
export const standbyActions: readonly Action[] = [changeStandby, survivePurge];

/** How often a move that met a set in the middle of something else is asked for again. */
const triesMax = 3;

/** Moves whatever has lost its key and has a standby wrap, by the word of that key's owner; all of it must arrive (G5, CMK-108). */
export const moveFromStandbys = async (stage: Stage): Promise<void> => {
  for (const planned of plannedSets) await moveFromStandby(stage, planned);
};

const moveFromStandby = async (stage: Stage, { id }: PlannedSet): Promise<void> => {
  const { truth, world, log } = stage;
  const { access, sets } = truth.losses;
  const set = setName(id);
  const known = sets.get(set);
  if (!known || known.isDeleted) return;
  const isActiveGone = access.isGone(known.activeKey);
  const source = standbySourceOf(known, isActiveGone);
  const movable = [...truth.disks.disks.values()].filter(
    (disk) =>
      disk.set === set &&
      !disk.isDeleting &&
      truth.isGone(disk) &&
      source !== '' &&
      truth.disks.headerOf(disk)?.standby?.keyVersion === source &&
      !access.isGone(source),
  );
  if (movable.length === 0) return;
  // The owner's word does not stand for a right of the set: an identity it was given since has none there (CMK-10).
  await grant(stage, vaultOf(source), known.principal);
  const [parent = ''] = policyVaults;
  const next = isActiveGone ? await makeKey(stage, set, parent, 'k') : known.activeKey;
  if (next === undefined) return;
  const left = () => movable.filter((disk) => truth.disks.disks.has(disk.name) && truth.isGone(disk));
  for (let tries = 1; tries <= triesMax && left().length > 0; tries += 1) {
    if (known.activeKey === next) await resume(stage, set, true);
    else await assignTo(stage, set, next, true);
    await reached(() => waitUntil(world, 'disks have moved from their standby wraps', async () => left().length === 0));
  }
  for (const { name } of left()) {
    log.violate(
      'G5',
      `${name} moves from its wrap under the standby key ${source}`,
      'it is under its purged key still',
    );
    return;
  }
};
