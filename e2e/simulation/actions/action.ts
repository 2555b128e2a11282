import type { Stage } from '../workload/stage.ts';

/** A random action of a user, an operator or a guest. */
export interface Action {
  readonly name: string;
  /** How often it is chosen, relative to the other actions. */
  readonly weight: number;
  /** Whether it needs disk hosts beside a control process; by default not. */
  readonly needsHosts?: boolean;
  /** Acts on a resource that it picks; does nothing if no resource fits. */
  run(stage: Stage): Promise<void>;
}

/** Picks one, by weight. */
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
