import { huntMutants } from './hunting.ts';
import { mutants } from './mutants.ts';

await huntMutants(new URL('./play-mutant.ts', import.meta.url), [...mutants.keys()], process.argv.slice(2));
