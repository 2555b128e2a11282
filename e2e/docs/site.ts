import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { lockFolder } from '@interlock/host';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import { systemClock } from '@interlock/runtime';
import { runProgram } from '../../deploy/images/builder.ts';
import type { ImageLabels } from '../../deploy/images/labels.ts';
import { packageManager } from '../../services/cli/app.ts';

/** VitePress and its settings. */
const siteFolder = join(repository, 'docs/site');

/** Where `npm run docs` puts the site, and `npm run docs:preview` finds it. */
export const builtSite = join(siteFolder, '.vitepress/dist');

/** Where the pages lead to. */
export interface SitePlace {
  /** Path of the site on its server: `/`, `/interlock/`. */
  readonly base: string;
  /** Where links to source files lead: `https://example.com/interlock/blob/v1.0.0`. Undefined: they are text. */
  readonly source: string | undefined;
}

/** Where a browser finds the files of a commit; undefined if the address of the repository is not known. */
export const filesOf = (labels: ImageLabels): string | undefined => {
  const { 'org.opencontainers.image.source': source, 'org.opencontainers.image.revision': revision = 'HEAD' } = labels;
  return source === undefined ? undefined : `${source}/blob/${revision.replace(/-dirty$/, '')}`;
};

/** How long to wait for another build in the same folder, in milliseconds: one takes about 10 s, and three may stand in line. */
const patienceMs = 120_000;

/**
 * Makes the site of everything that is written in Markdown. VitePress keeps files of its own while it builds, so one build waits for another.
 * @param folder for the site; what is in it is replaced
 * @throws LauncherError with the output of VitePress if it fails, which it does for a link to what does not exist, or if a page cannot be shown
 */
export async function buildSite(folder: string, place: SitePlace): Promise<void> {
  const cache = join(siteFolder, '.vitepress/cache');
  mkdirSync(cache, { recursive: true });
  const unlock = await lockFolder(cache, { clock: systemClock, patienceMs, signal: new AbortController().signal });
  try {
    await install();
    const { status, stdout, stderr } = spawnSync(...vitepress('build', '--outDir', folder), {
      ...{ cwd: siteFolder, env: environment(place), encoding: 'utf8' },
    });
    // VitePress ends with 0 after an error of a page.
    const isBroken = /\[Vue (warn|error)\]|TypeError|ReferenceError/.test(stderr);
    if (status !== 0 || isBroken) throw new LauncherError(`the site could not be built:\n${stdout}${stderr}`);
  } finally {
    unlock();
  }
}

/** Serves the site on 127.0.0.1 until Ctrl-C: as it is written (`dev`), or as it was built (`preview`). @returns the exit code */
export async function serveSite(how: 'dev' | 'preview', place: SitePlace): Promise<number> {
  await install();
  const [program, args] = vitepress(how);
  return (
    spawnSync(program, [...args, '--host', '127.0.0.1'], { cwd: siteFolder, env: environment(place), stdio: 'inherit' })
      .status ?? 1
  );
}

const vitepress = (command: string, ...options: readonly string[]): [string, string[]] => [
  process.execPath,
  [join(siteFolder, 'node_modules/vitepress/bin/vitepress.js'), command, '.', ...options],
];

const environment = ({ base, source }: SitePlace): NodeJS.ProcessEnv => ({
  ...process.env,
  DOCS_BASE: base,
  ...(source === undefined ? {} : { DOCS_SOURCE: source }),
});

const install = (): Promise<string> =>
  runProgram(
    'npx',
    ['-y', packageManager, '--dir', siteFolder, 'install', '--frozen-lockfile', '--prefer-offline', '--loglevel=error'],
    process.env,
  );
