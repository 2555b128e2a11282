import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { engineFlags } from '../runs/play-pool.ts';
import type { Hunt } from './hunting.ts';
import { root } from './patching.ts';

/** Plays a planted bug from a seed on. @throws when the bug ends the process, for example because its code no longer fits */
export const play = (number: number, limitHistories: number, firstSeed = 1): Hunt => {
  const script = join(root, 'e2e/simulation/mutants/play-mutant.ts');
  const options = [...engineFlags, script, String(number), String(firstSeed), 'Infinity', String(limitHistories)];
  const lines = execFileSync(process.execPath, options, { encoding: 'utf8' }).trim().split('\n');
  return JSON.parse(lines.at(-1) ?? '');
};
