import type { Stage } from '../workload/stage.ts';
import { dataActions } from './data.ts';
import { diskActions } from './disks.ts';
import { keyActions } from './keys.ts';
import { machineActions } from './machines.ts';
import { purgeActions } from './purges.ts';
import { setActions } from './sets.ts';

/** Something somebody does, by chance. */
export interface Action {
  readonly name: string;
  /** How often it is chosen, against the others. */
  readonly weight: number;
  /** Does it on whatever it picks; does nothing when there is nothing to do it on. */
  run(stage: Stage): Promise<void>;
}

export const actions: readonly Action[] = [
  ...dataActions,
  ...machineActions,
  ...diskActions,
  ...keyActions,
  ...setActions,
  ...purgeActions,
];

/** One of them, by weight. */
export const pickByWeight = <One extends { readonly weight: number }>(
  { random }: Pick<Stage, 'random'>,
  all: readonly One[],
): One => {
  let left = random.fraction() * all.reduce((sum, { weight }) => sum + weight, 0);
  for (const one of all) {
    left -= one.weight;
    if (left < 0) return one;
  }
  return random.pick(all);
};
