import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { repository } from './data-folder.ts';

/** The bundle of a source in the folder of bundles: its path from the root of the repository, as JavaScript. */
export const bundleOf = (source: string, root: string): string => relative(root, source).replace(/\.ts$/, '.js');

/**
 * The file to run for an entry: its bundle in the folder `INTERLOCK_BUNDLES`, which a test run sets, otherwise the entry itself. Entries
 * of tests are not bundled.
 */
export const bundledEntry = (
  entry: string,
  { INTERLOCK_BUNDLES: folder }: Readonly<Record<string, string | undefined>>,
): string => {
  if (folder === undefined) return entry;
  const bundle = join(folder, bundleOf(entry, repository));
  return existsSync(bundle) ? bundle : entry;
};
