import type { ExperimentRun } from './experiments.ts';
import type { Played } from './report.ts';
import { deleteAndAssign } from './steps/deletion.ts';
import { createDisks, createPlatformDisks } from './steps/disks.ts';
import { grantAccess } from './steps/grants.ts';
import { openFiles, readMarks } from './steps/inspection.ts';
import { fillVault, makeKeysAtHome } from './steps/keys.ts';
import { loseInEveryWay, loseTheKey } from './steps/losses.ts';
import { createMachines } from './steps/machines.ts';
import { admitPeople } from './steps/people.ts';
import { readRecord } from './steps/record.ts';
import { disableOldVersion, refuseDeletion, rotate } from './steps/rotation.ts';
import { createSets } from './steps/sets.ts';
import type { World } from './world.ts';

/** Name of the rehearsal in the report. */
export const scenarioName = 'customer-managed keys: set up, rotate, lose and regain';

/**
 * The documented workflow from the empty cloud to the last byte: set up with eight machines, rotate, lose the key and
 * regain it in the lab, delete it and assign another one, lose keys in every other way in the lab, then read what is left on the disks.
 *
 * Users, keys, sets and disks are required. After that each part is played even if the one before it failed,
 * as far as possible.
 */
export const playScenario = async (world: World): Promise<Played> => {
  const problems: string[] = [];
  const runs: ExperimentRun[] = [];
  const part = async <Result>(name: string, play: () => Promise<Result>): Promise<Result | undefined> => {
    if (world.signal.aborted) return undefined;
    try {
      return await play();
    } catch (error) {
      problems.push(`${name}: ${causes(error)}`);
      return undefined;
    }
  };
  const stage = await part('setting up', () => setUp(world));
  if (stage === undefined) return { problems, runs, firstMachineRanAtMs: undefined, dataReturned: undefined };
  const { people, keys, sets, disks, marks } = stage;
  const { house, lodge } = sets;
  const firstMachineRanAtMs = await part('machines', () => createMachines(world, people));
  await part('deleting a set in use', () => refuseDeletion(world, people, house, disks));
  const rotated = await part('rotation', () => rotate(world, people, { set: house, keys, disks, marks }));
  if (rotated !== undefined) await part('old version', () => disableOldVersion(world, people, keys));
  await part('losing the key', async () => runs.push(await loseTheKey(world, people)));
  await part('deleting', () => deleteAndAssign(world, people, house, keys));
  await part('every way', async () => runs.push(await loseInEveryWay(world, people)));
  const before = rotated ?? new Map();
  const [marksRead = 0] = await Promise.all([
    part('giving back', () => readMarks(world, people, marks)),
    part('record', () => readRecord(world, people, { sets: [house, lodge], disks, rewrapped: [...before.keys()] })),
  ]);
  const dataReturned = await part('files', () => openFiles(world, { keys, disks, marks, before, marksRead }));
  return { problems, runs, firstMachineRanAtMs, dataReturned };
};

const setUp = async (world: World) => {
  const atHome = makeKeysAtHome();
  // If the scenario ends before it needs them, their failure does not matter.
  void Promise.allSettled([atHome]);
  const people = await admitPeople(world);
  const [keys, olderMarks] = await Promise.all([fillVault(world, people, atHome), createPlatformDisks(world, people)]);
  const sets = await createSets(world, people, keys);
  await grantAccess(world, people, sets);
  return { people, keys, sets, ...(await createDisks(world, people, olderMarks)) };
};

/** An error with its causes, each text once. */
const causes = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${causes(error.cause)})`;
};
