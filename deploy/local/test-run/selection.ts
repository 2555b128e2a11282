import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { LauncherError } from '../data-folder.ts';
import { type ImportGraph, openImportGraph } from './import-graph.ts';

/** What a run is asked to do. */
export interface TestRequest {
  /** Globs relative to the user's folder; none: all files of the scope. */
  readonly globs: readonly string[];
  /** `standard`: every file but `*.long.test.ts`. `changed`: those of them that load a file changed since `main`; see `assemblesCloud`. */
  readonly scope: 'standard' | 'changed' | 'all';
  /** Options of `node --test`. */
  readonly nodeOptions: readonly string[];
}

const scopes: Readonly<Record<string, TestRequest['scope']>> = { '--changed': 'changed', '--all': 'all' };

/** Reads the arguments of `npm test --`. @throws LauncherError for globs together with a scope */
export const readRequest = (args: readonly string[]): TestRequest => {
  const globs = args.filter((arg) => !arg.startsWith('--'));
  const [scopeName, ...others] = args.filter((arg) => arg in scopes);
  if (others.length > 0 || (scopeName !== undefined && globs.length > 0)) {
    throw new LauncherError(`Give either files or one of ${Object.keys(scopes).join(' and ')}, not both.`);
  }
  return {
    globs,
    scope: scopes[scopeName ?? ''] ?? 'standard',
    nodeOptions: args.filter((arg) => arg.startsWith('--') && !(arg in scopes)),
  };
};

/** A file that runs only with `npm run test:all`, or when it is named. Its first lines say why, and what `npm test` proves instead. */
export const isLong = (file: string): boolean => file.endsWith('.long.test.ts');

/** The test files of a run. */
export interface Selection {
  /** As paths from the root, sorted. */
  readonly files: readonly string[];
  /** Whether one of them uses the Postgres and NATS of the run. */
  readonly needsServers: boolean;
  /** Whether one of them starts services as processes. */
  readonly startsServices: boolean;
  /** What was selected, as a sentence for the user; undefined if it goes without saying. */
  readonly description?: string;
}

/**
 * The files that a request means.
 * @param root folder of the repository
 * @param from folder that globs are relative to
 * @throws LauncherError when nothing matches the globs, or when git cannot say what changed
 */
export const selectTests = ({ globs, scope }: TestRequest, root: string, from: string): Selection => {
  const graph = openImportGraph(root);
  const withNeeds = (files: readonly string[], description?: string): Selection => ({
    files,
    needsServers: files.some((file) => needsServers(graph, root, file)),
    startsServices: files.some((file) => graph.closureOf(file).has('deploy/local/processes.ts')),
    ...(description && { description }),
  });
  if (globs.length > 0) {
    const files = filesMatching(globs, from).map((file) => relative(root, resolve(from, file)));
    if (files.length === 0) throw new LauncherError(`No test file matches ${globs.join(' ')} in ${from}.`);
    return withNeeds(files.sort());
  }
  const all = filesMatching(['{libs,services,deploy,e2e,proto}/**/*.test.ts'], root).sort();
  if (scope === 'all') return withNeeds(all);
  const standard = all.filter((file) => !isLong(file));
  if (scope === 'standard') return withNeeds(standard);
  const { base, changed } = changesSinceMain(root);
  const loaded = changed.flatMap(asLoaded);
  const selected = new Set([
    ...graph.dependentsOf(
      loaded,
      standard.filter((file) => !assemblesCloud(graph, file)),
    ),
    ...graph.dependentsOf(
      loaded.filter((file) => !file.startsWith('services/')),
      standard,
    ),
  ]);
  const files = standard.filter((file) => selected.has(file));
  return withNeeds(
    files,
    `${changed.length} files changed since ${base}: ${files.length} test files load one of them.`,
  );
};

/**
 * A test of `e2e` that assembles services loads all of their sources, so each change in `services` would select it: a line of
 * compute selected 82 files, and 42 of them were these, which take most of the time. `npm test` runs them.
 */
const assemblesCloud = (graph: ImportGraph, file: string): boolean =>
  file.startsWith('e2e/') &&
  [...graph.closureOf(file)].some((loaded) => /^services\/[^/]+\/src\/assemble\.ts$/.test(loaded));

/** Node's own search follows the workspace links in node_modules. */
const filesMatching = (patterns: readonly string[], cwd: string): string[] =>
  globSync([...patterns], { cwd, exclude: (name) => name === 'node_modules' || name === '.interlock' });

/** Contracts are generated: who loads the generated file depends on its source. */
const asLoaded = (file: string): readonly string[] => {
  const contract = /^proto\/(.*)\.proto$/.exec(file)?.[1];
  return contract === undefined ? [file] : [file, `libs/contracts/src/${contract}.ts`];
};

/** `process.env` as a whole, or one of the two variables that the run sets. */
const readsServers = /\bprocess\.env\b(?!\.)|\bprocess\.env\.(DATABASE_URL|NATS_URL)\b/;

/** Comments that have lines of their own: they may name `process.env`, and read nothing. */
const commentLine = /^\s*(\/\/|\/?\*).*$/gm;

/** A test uses the servers of the run if something that it loads may read their addresses. */
const needsServers = (graph: ImportGraph, root: string, file: string): boolean =>
  [...graph.closureOf(file)].some(
    (loaded) =>
      /\.(ts|mjs)$/.test(loaded) &&
      readsServers.test(readFileSync(join(root, loaded), 'utf8').replace(commentLine, '')),
  );

/** Files that differ from the commit at which this work left `main`, and new files. */
const changesSinceMain = (root: string): { readonly base: string; readonly changed: readonly string[] } => {
  const git = (...args: readonly string[]): readonly string[] => {
    try {
      const output = execFileSync('git', [...args], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
      return output.split('\n').filter((line) => line !== '');
    } catch (error) {
      const reason = error instanceof Error ? error.message.trimEnd() : String(error);
      throw new LauncherError(`What changed since main cannot be found: ${reason}`);
    }
  };
  const [main = 'main'] = git('for-each-ref', '--format=%(refname:short)', 'refs/remotes/origin/main');
  const [base = main] = git('merge-base', 'HEAD', main);
  const changed = [...git('diff', '--name-only', base), ...git('ls-files', '--others', '--exclude-standard')];
  return { base: `${main} (${base.slice(0, 8)})`, changed };
};
