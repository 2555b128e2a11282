import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { parseSync } from 'oxc-parser';

/** Sources of a repository, and which of them each one loads. Paths are relative to the root. */
export interface ImportGraph {
  /** The file itself and everything that it loads, directly or not. */
  closureOf(file: string): ReadonlySet<string>;
  /** Those of `files` that load one of `changed`, directly or not, or are one of them. In the order of `files`. */
  dependentsOf(changed: Iterable<string>, files: readonly string[]): readonly string[];
}

/** Texts that may name a file beside the code: a program or worker that it starts, a page or an experiment that it reads. */
const namedFile = /(['"`])((?:\.{1,2}\/)*[\w-][\w./-]*\.(?:ts|mjs|yaml|json|md|sql))\1/g;

/**
 * Reads imports as they are needed, and names of files that exist beside the code. Type imports do not count, because they load
 * nothing: the type check finds what they break. A path that starts at the root is no name: a test that starts whole services does
 * not depend on their sources.
 * @param root folder of the repository
 */
export const openImportGraph = (root: string): ImportGraph => {
  const direct = new Map<string, readonly string[]>();
  const loadedBy = (file: string): readonly string[] => {
    const known = direct.get(file);
    if (known !== undefined) return known;
    const found = loadsOf(root, file);
    direct.set(file, found);
    return found;
  };
  const closureOf = (file: string): ReadonlySet<string> => {
    // A set iterates over what is added meanwhile.
    const closure = new Set([file]);
    for (const member of closure) for (const loaded of loadedBy(member)) closure.add(loaded);
    return closure;
  };
  return {
    closureOf,
    dependentsOf: (changed, files) => {
      const sought = new Set(changed);
      return files.filter((file) => [...closureOf(file)].some((loaded) => sought.has(loaded)));
    },
  };
};

const loadsOf = (root: string, file: string): readonly string[] => {
  const path = join(root, file);
  if (!/\.(ts|mjs)$/.test(file) || !existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  const { module } = parseSync(file, text);
  const names = [
    ...module.staticImports
      .filter(({ entries }) => entries.length === 0 || entries.some(({ isType }) => !isType))
      .map(({ moduleRequest }) => moduleRequest.value),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ isType, moduleRequest }) => (isType || moduleRequest === null ? [] : [moduleRequest.value])),
    ),
  ];
  const { resolve: resolvePackage } = createRequire(path);
  const imported = names.flatMap((name) => {
    if (name.startsWith('.')) return [resolve(path, '..', name)];
    return name.startsWith('@interlock/') ? [resolvePackage(name)] : [];
  });
  const reExports = module.staticExports.filter(({ entries }) => entries.some((entry) => entry.moduleRequest !== null));
  const named = [...withoutRanges(text, [...module.staticImports, ...reExports]).matchAll(namedFile)]
    .map(([, , name = '']) => resolve(path, '..', name))
    .filter(existsSync);
  return [...imported, ...named].map((loaded) => relative(root, loaded));
};

/** The text without the given statements. */
const withoutRanges = (text: string, ranges: readonly { readonly start: number; readonly end: number }[]): string => {
  let rest = '';
  let from = 0;
  for (const { start, end } of ranges.toSorted((a, b) => a.start - b.start)) {
    rest += text.slice(from, start);
    from = end;
  }
  return rest + text.slice(from);
};
