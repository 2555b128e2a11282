import type { ExperimentName, ExperimentRun } from '../experiments.ts';
import { seeEveryWay, seeKeyLost } from '../judged.ts';
import { quietly } from '../observe.ts';
import type { People, World } from '../world.ts';

/** The key of the machines, under the eyes of the lab: disabled and enabled, its grant removed and given again. */
export const loseTheKey = async (
  world: World,
  { administrator, vaultAdministrator }: People,
): Promise<ExperimentRun> => {
  // The owner of the key; only the administrator sees sets, roles and events.
  const { keyVault, tokens } = vaultAdministrator;
  const run = await inLab(world, 'the-key-is-lost', { ...administrator, keyVault, tokens }, [
    ...['CMK-10', 'CMK-100', 'CMK-101', 'CMK-102', 'CMK-103', 'CMK-105', 'CMK-106', 'CMK-111', 'CMK-120', 'CMK-127'],
  ]);
  seeKeyLost(world.see, run.verdict);
  return run;
};

/** Every way to lose a key that its owner can undo, each on a machine of its own. */
export const loseInEveryWay = async (world: World, { administrator }: People): Promise<ExperimentRun> => {
  const run = await inLab(world, 'every-way', administrator, [
    ...['CMK-10', 'CMK-27', 'CMK-38', 'CMK-100', 'CMK-104', 'CMK-105', 'CMK-120', 'CMK-122', 'CMK-123', 'CMK-126'],
    ...['CMK-127', 'CMK-133'],
  ]);
  seeEveryWay(world.see, run.verdict, run.record.machines);
  return run;
};

const inLab = (
  { timeline, experiments }: World,
  name: ExperimentName,
  clients: Parameters<World['experiments']['run']>[1],
  rules: readonly string[],
): Promise<ExperimentRun> =>
  timeline.step({ who: 'Lab', title: `Runs ${name}.experiment.yaml`, rules }, () =>
    // The trace of a step has the calls of users; the lab reads hundreds of times what happens.
    quietly(() => experiments.run(name, clients)),
  );
