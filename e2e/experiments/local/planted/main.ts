import { mutants } from '../../../simulation/mutants/mutants.ts';
import { plant } from '../../../simulation/mutants/patching.ts';

/** The program of compute with the planted bug that `PLANTED_BUG` names, on a local cloud. */
const mutant = mutants.find(({ name }) => name === process.env.PLANTED_BUG);
if (mutant === undefined) throw new Error(`PLANTED_BUG names no planted bug: "${process.env.PLANTED_BUG}"`);
const planted = plant(mutant);
await import('../../../../services/compute/src/main.ts');
if (!planted.isLoaded()) throw new Error(`${mutant.file} is no part of compute`);
