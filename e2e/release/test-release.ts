import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { repository } from '@interlock/local/data-folder.ts';

/** Longest run of `npm run release` without images, in milliseconds: ten times that of an idle machine. */
const releaseMs = 280_000;

/**
 * Runs `npm run release` without images, also on files that are not committed.
 * @param folder where the files go
 * @param umask of the process: who builds has another one
 * @returns its last line
 */
export const makeRelease = (folder: string, umask = '022'): { readonly version: string } => {
  const script = join(repository, 'e2e/release/release.ts');
  const command = `umask ${umask}; exec node ${script} --no-images --uncommitted --source https://git.test/own --out ${folder}`;
  const PATH = `${dirname(process.execPath)}:${process.env.PATH}`;
  const output = execFileSync('sh', ['-c', command], {
    env: { ...process.env, PATH },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: releaseMs,
  });
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
};
