import type { Disturbed } from '@interlock/lab/judge/model/disturbances';
import type { Stage } from '../workload/stage.ts';

/** A fault that lasts for a time. */
export interface Fault {
  readonly name: string;
  readonly weight: number;
  strike(stage: Stage): void;
}

/** Sometimes longer than a lease, so that a history includes the bound and what happens after it. */
export const durationMs = ({ random }: Stage): number =>
  random.chance(0.3) ? 8_000 + random.fraction() * 20_000 : 100 + random.fraction() * 5_000;

/** Notes the disturbance, and ends it after its time or when the history ends all faults. */
export const during = (
  stage: Stage,
  struck: readonly Disturbed[],
  heal: () => void,
  lastsMs = durationMs(stage),
): void => {
  const end = stage.disturbances.begin(...struck);
  stage.later(lastsMs, async () => {
    heal();
    end();
  });
};

/** Ends the disk host and the power of its storage; it starts again later. @param isMachineLost on another machine */
export const crashDisk = (stage: Stage, isMachineLost = false): void => {
  const { world, random, truth, disturbances, judge } = stage;
  const lossy = isMachineLost ? judge.onMachineLost() : judge.volumesOfLostMachines();
  // From now on each flush of these opens fails: the storage lost what they did not flush.
  const noteLost = (): void => {
    for (const volumeId of lossy) world.storage.note('flush', volumeId);
  };
  if (isMachineLost) world.faults.loseMachine('disk');
  else world.faults.crash('disk');
  noteLost();
  for (const content of truth.contents.values()) content.crash();
  const end = disturbances.begin('disk');
  stage.later(random.fraction() * 3_000, async () => {
    await world.faults.restart('disk');
    disturbances.noteStart('disk');
    noteLost();
    end();
  });
};
