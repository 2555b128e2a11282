import { filesLike, textOf } from './sources.ts';
import { lineOf, rowOf } from './table.ts';

/** The page, from the root. */
export const sizePage = 'docs/architecture.md';

/** Lines of a folder. */
interface Size {
  readonly source: number;
  readonly tests: number;
}

/** A number on the page stays while it is wrong by at most a tenth or 200 lines, so that few commits change the page. */
const isClose = (shown: number, count: number): boolean => Math.abs(shown - count) <= Math.max(200, count / 10);

/** Folders with a row in the tables of the page. */
export const foldersOn = (page: string): readonly string[] =>
  page.split('\n').flatMap((line) => (rowOf(line)?.length === 4 ? foldersOf(line) : []));

const foldersOf = (line: string): readonly string[] =>
  [...(rowOf(line)?.[0] ?? '').matchAll(/`([\w/-]+)`/g)].map(([, folder = '']) => folder);

/** The narrowest of these folders that contains a file; `undefined` without one. */
export const folderOf = (file: string, folders: readonly string[]): string | undefined =>
  folders.filter((folder) => file.startsWith(`${folder}/`)).sort((one, other) => other.length - one.length)[0];

/** The source files that the tables count. */
export const countedFiles = (): readonly string[] =>
  filesLike(/^(?:libs|services|deploy|e2e|proto)\/.*\.(?:ts|mjs|proto)$/);

const sizesOf = (folders: readonly string[]): ReadonlyMap<string, Size> => {
  const sizes = new Map<string, Size>();
  for (const file of countedFiles()) {
    const folder = folderOf(file, folders);
    if (folder === undefined) continue;
    const lines = textOf(file).split('\n').length - 1;
    const { source, tests } = sizes.get(folder) ?? { source: 0, tests: 0 };
    const isTest = /(?:^|\/)test-[^/]*$|\.test\.ts$/.test(file);
    sizes.set(folder, isTest ? { source, tests: tests + lines } : { source: source + lines, tests });
  }
  return sizes;
};

/** The page with the sizes of the folders in its tables. */
export const withSizes = (page: string): string => {
  const sizes = sizesOf(foldersOn(page));
  const total = (folders: readonly string[], part: keyof Size): number =>
    folders.reduce((sum, folder) => sum + (sizes.get(folder)?.[part] ?? 0), 0);
  return page
    .split('\n')
    .map((line) => {
      const [folder = '', contains = '', source = '', tests = '', ...more] = rowOf(line) ?? [];
      const folders = foldersOf(line);
      if (folders.length === 0 || more.length > 0 || rowOf(line)?.length !== 4) return line;
      return lineOf([folder, contains, shown(source, total(folders, 'source')), shown(tests, total(folders, 'tests'))]);
    })
    .join('\n');
};

const shown = (before: string, count: number): string => {
  const number = Number(before.replaceAll(',', ''));
  if (/^[\d,]+$/.test(before) && isClose(number, count)) return before;
  return (Math.round(count / 100) * 100).toLocaleString('en-US');
};
