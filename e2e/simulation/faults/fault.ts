import type { Disturbed } from '../../oracle/model/disturbances.ts';
import type { Stage } from '../workload/stage.ts';

/** A fault and how it ends: each strikes for a time and is over then. */
export interface Fault {
  readonly name: string;
  readonly weight: number;
  strike(stage: Stage): void;
}

/** Longer than a lease at times, so that both the bound and what happens after it are seen. */
export const durationMs = ({ random }: Stage): number =>
  random.chance(0.3) ? 8_000 + random.fraction() * 20_000 : 100 + random.fraction() * 5_000;

/** Notes the trouble and has it end after its time, or when the history ends all faults. */
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

/** Ends the disk host, and with it the power of its storage, and has it started again. */
export const crashDisk = (stage: Stage, how: (service: 'disk') => void): void => {
  const { world, random, truth, disturbances } = stage;
  how('disk');
  for (const content of truth.contents.values()) content.crash();
  const end = disturbances.begin('disk');
  stage.later(random.fraction() * 3_000, async () => {
    await world.faults.restart('disk');
    disturbances.noteStart('disk');
    end();
  });
};
