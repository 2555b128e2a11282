import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Test files that run in one process. */
export interface UnitGroup {
  /** The file that loads them: a path that `node --test` accepts. */
  readonly entry: string;
  /** As paths from the root. */
  readonly files: readonly string[];
}

/**
 * More would make a group long enough to run alone at the end. The loading of modules, which a group does once, is a third of a second
 * of a processor.
 */
const mostFiles = 40;

/**
 * Units of one package: `libs/rpc`, `services/disk`. Tests with servers or whole clouds have other names or are in `e2e`. The tests of
 * manifests share what they render.
 */
const unitOf = /^((?:libs|services)\/[^/]+|e2e\/kubernetes)\/.*(?<!\.int|\.long)\.test\.ts$/;

/**
 * What a test file must not contain to share a process with others. A hook outside of a suite would run for the tests of each file;
 * a mock, a setting of the process, a signal or a measurement of it concerns all of them.
 */
const ofTheProcess =
  /\b(before|after|beforeEach|afterEach|mock)\b[^;]*\} from 'node:test'|\bprocess\.(?!platform\b|execPath\b|cwd\b|pid\b|version\b)|\bglobalThis\b|\bmock\.|node:(child_process|worker_threads)|\bsetGlobal/;

/**
 * Splits a selection into groups of units, each with a file that loads all of them, and the files that run alone. A process of its own
 * costs a unit more than its tests do.
 * @param root folder of the repository
 * @param folder an existing folder for the files of the groups
 */
export const groupUnits = (
  files: readonly string[],
  root: string,
  folder: string,
): { readonly alone: readonly string[]; readonly groups: readonly UnitGroup[] } => {
  const packageOf = (file: string): string | undefined => {
    const found = unitOf.exec(file)?.[1];
    return found !== undefined && !ofTheProcess.test(readFileSync(join(root, file), 'utf8')) ? found : undefined;
  };
  const byPackage = Map.groupBy(files, packageOf);
  const alone = byPackage.get(undefined) ?? [];
  byPackage.delete(undefined);
  const groups = [...byPackage].flatMap(([name = '', units]) =>
    chunksOf(units, mostFiles).map((chunk, n) => {
      const entry = join(folder, `${name.replace('/', '-')}-${n + 1}.mjs`);
      const imports = chunk.map((file) => `import ${JSON.stringify(pathToFileURL(join(root, file)).href)};\n`);
      writeFileSync(entry, imports.join(''));
      return { entry, files: chunk };
    }),
  );
  return { alone, groups };
};

/** As few chunks as the limit allows, of about the same length. */
const chunksOf = (files: readonly string[], limit: number): readonly (readonly string[])[] => {
  const count = Math.ceil(files.length / limit);
  const length = Math.ceil(files.length / count);
  return Array.from({ length: count }, (_, n) => files.slice(n * length, (n + 1) * length));
};

/** How output names a group: `services-disk-1 (37 files)`. */
export const nameOfGroup = ({ entry, files }: UnitGroup): string =>
  `${basename(entry, '.mjs')} (${files.length} files)`;

/** What ran, as output names it: a test file by its path from the root, a group by its name. */
export const shownFile = (file: string, groups: readonly UnitGroup[], root: string): string => {
  const group = groups.find(({ entry }) => entry === file);
  return group === undefined ? relative(root, file) : nameOfGroup(group);
};
