import { keyOf, plannedSets, setName } from '../workload/estate.ts';
import { attempt, type Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';
import { giveBack, pickCause, take } from './causes.ts';

/** How long a revocation lasts: an instant, less than a lease, or well beyond it. */
const holdMs = ({ random }: Stage): number => {
  const kind = random.fraction();
  if (kind < 0.15) return random.fraction() * 100;
  if (kind < 0.5) return 500 + random.fraction() * 5_000;
  return 8_000 + random.fraction() * 25_000;
};

/**
 * Takes a key from a set, and restores access after a while.
 * @param lastsMs how long; random by default @param set random by default
 */
export const revokeForAWhile = async (
  stage: Stage,
  lastsMs = holdMs(stage),
  set = stage.random.pick(plannedSets),
): Promise<void> => {
  const { random, truth, counts } = stage;
  const known = truth.losses.sets.get(setName(set.id));
  if (!known || known.isDeleted) return;
  // A rotation may be in progress: sometimes the older version is disabled.
  const keyVersion = random.pick([known.activeKey, known.activeKey, ...known.previousKeys]);
  if (truth.losses.access.isGone(keyVersion)) return;
  const variant = pickCause(stage, keyVersion);
  await preview(stage, keyVersion);
  if (random.chance(0.4)) await race(stage, setName(set.id));
  if (random.chance(0.8)) tryToStart(stage, setName(set.id));
  if (await take(stage, variant, set, keyVersion)) counts.revocations += 1;
  stage.later(lastsMs, async () => {
    await giveBack(stage, variant, set, keyVersion);
    if (truth.losses.blockers(setName(set.id), keyVersion, 'opening').length === 0) counts.returns += 1;
  });
};

/** Previews the loss, and compares the response with what runs. */
const preview = async (stage: Stage, keyVersion: string): Promise<void> => {
  const { clients, judge, random } = stage;
  if (random.chance(0.5)) return;
  const before = judge.forecast(keyVersion);
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

/** Users request actions on machines under the set at the moment when its key is lost, and guests are slow. */
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

/** Users try to start stopped machines while the key is still lost: that must fail (CMK-106). */
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
