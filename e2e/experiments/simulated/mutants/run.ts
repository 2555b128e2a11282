import { huntMutants } from '../../../simulation/mutants/hunting.ts';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { searchMutants } from './search-mutants.ts';
import { visibility } from './visible.ts';

const args = process.argv.slice(2);
if (args[0] === '--search') await searchMutants(args.slice(1));

const files = new Map(visibility.flatMap((one) => ('file' in one ? [[one.mutant, one.file] as const] : [])));
const huntable = [...mutants.keys()].filter((number) => files.has(mutants[number]?.name ?? ''));
for (const one of visibility) if ('why' in one) process.stdout.write(`not visible: ${one.mutant}: ${one.why}\n`);
await huntMutants(new URL('./play-mutant.ts', import.meta.url), huntable, args);
