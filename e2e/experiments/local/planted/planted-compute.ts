import { mutants } from '../../../simulation/mutants/mutants.ts';
import { plant } from '../../../simulation/mutants/patching.ts';

/** Runs the program of compute with a planted bug, on a local cloud. @param name of the bug @throws Error if none has that name */
export const runComputeWith = async (name: string): Promise<void> => {
  const mutant = mutants.find((one) => one.name === name);
  if (mutant === undefined) throw new Error(`no planted bug is named "${name}"`);
  const planted = plant(mutant);
  await import('../../../../services/compute/src/main.ts');
  if (!planted.isLoaded()) throw new Error(`${mutant.file} is no part of compute`);
};
