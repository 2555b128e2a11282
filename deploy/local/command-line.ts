import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from './data-folder.ts';

/** The command line that belongs to these sources. */
export interface CommandLine {
  /** File that Node runs. */
  readonly entry: string;
  /** What a user types to run it. */
  readonly typed: 'interlock' | 'npx interlock';
}

/**
 * Finds the command line. In the installed package (services/cli/pack.ts) it is beside these sources; a clone bundles it, which starts ten times as
 * fast as its sources; an image has no bundler.
 */
export const commandLine = (): CommandLine => {
  const installed = join(repository, '../bin/interlock.mjs');
  if (existsSync(installed)) return { entry: installed, typed: 'interlock' };
  const isClone = existsSync(join(repository, 'node_modules/.bin/node'));
  return {
    entry: join(repository, 'services/cli', isClone ? 'interlock.mjs' : 'src/main.ts'),
    typed: 'npx interlock',
  };
};
