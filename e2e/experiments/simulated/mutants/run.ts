import { huntMutants } from '../../../simulation/mutants/hunting.ts';
import { mutants } from '../../../simulation/mutants/mutants.ts';
import { visibility } from './visible.ts';

const files = new Map(visibility.flatMap((one) => ('file' in one ? [[one.mutant, one.file] as const] : [])));
const huntable = [...mutants.keys()].filter((number) => files.has(mutants[number]?.name ?? ''));
for (const one of visibility) if ('why' in one) process.stdout.write(`not visible: ${one.mutant}: ${one.why}\n`);
await huntMutants(new URL('./play-mutant.ts', import.meta.url), huntable, process.argv.slice(2));
