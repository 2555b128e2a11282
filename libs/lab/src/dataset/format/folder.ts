import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isInFolder, pathInFolder, readUserFile, UserFileError } from '@interlock/runtime';
import { distributionOf, profileOf } from './distribution.ts';
import { citation, datasheet } from './documents.ts';
import {
  type CollectionManifest,
  type CollectionRun,
  type Distribution,
  type ManifestFile,
  type RunManifest,
  runFiles,
  SCHEMA,
  splitsOf,
} from './manifest.ts';
import type { RunData } from './run-data.ts';

/** A folder that is no data set, or a damaged one. The message names the file. */
export class DatasetError extends Error {
  override readonly name = 'DatasetError';
}

/** Name of the file that describes a data set. */
export const MANIFEST = 'manifest.json';

/** Most bytes of a file of a data set: somewhat less than a text may have in V8. */
const FILE_BYTES_MAX = 511 * 1_024 * 1_024;

/** SHA-256 of a text or bytes, in hex. */
export const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');

const lines = (values: readonly unknown[]): string => values.map((value) => `${JSON.stringify(value)}\n`).join('');

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** @throws DatasetError if the folder holds files */
export const assertEmpty = (folder: string): void => {
  const [found] = existsSync(folder) ? readdirSync(folder) : [];
  if (found !== undefined)
    throw new DatasetError(`${folder} is not empty (it has ${found}): name a new folder for the data set`);
};

/**
 * Writes a run into a new or empty folder. The same run is the same bytes.
 * @returns SHA-256 of its manifest, which names that of each file
 * @throws DatasetError if the folder holds files
 */
export const writeRun = (folder: string, data: RunData): string => {
  assertEmpty(folder);
  const contents: Readonly<Record<string, string>> = {
    [runFiles.traces]: lines(data.traces),
    [runFiles.metrics]: lines(data.metrics),
    [runFiles.logs]: lines(data.logs),
    [runFiles.events]: lines(data.events),
    [runFiles.edges]: lines(data.edges),
    [runFiles.faults]: lines(data.faults),
    [runFiles.exports]: lines(data.exports),
    [runFiles.corruption]: lines(data.corruption),
    [runFiles.io]: lines(data.io),
    [runFiles.experiment]: data.experiment,
    [runFiles.datasheet]: datasheet(data),
    [runFiles.citation]: citation(data),
  };
  const files = Object.entries(contents).map(([path, text]): ManifestFile => {
    const bytes = Buffer.from(text);
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
    const records = path.endsWith('.jsonl') ? { records: text === '' ? 0 : text.split('\n').length - 1 } : {};
    return { path, sha256: sha256(bytes), bytes: bytes.length, ...records };
  });
  const manifest: RunManifest = { schema: SCHEMA, kind: 'run', ...data.facts, files };
  writeFileSync(join(folder, MANIFEST), json(manifest));
  return sha256(json(manifest));
};

/** Writes the manifest of a folder with several runs, each in its own folder. @returns what the runs have together @throws DatasetError if it cannot read one */
export const writeCollection = (
  folder: string,
  title: string,
  written: readonly Omit<CollectionRun, 'graph'>[],
): Distribution => {
  const read = written.map((run) => {
    const data = readRun(join(folder, run.path));
    return { run, profile: profileOf(data), source: data.facts.source };
  });
  const runs = read.map(({ run, profile }) => ({ ...run, graph: profile.graph }));
  const source = read[0]?.source;
  const manifest: CollectionManifest = {
    schema: SCHEMA,
    kind: 'collection',
    title,
    ...(source === undefined ? {} : { source }),
    runs,
    distribution: distributionOf(read.map(({ profile }) => profile)),
    splits: splitsOf(runs),
  };
  writeFileSync(join(folder, MANIFEST), json(manifest));
  return manifest.distribution;
};

/** @throws DatasetError if the folder has no manifest of this version, or one that names files outside of the folder */
export const readManifest = (folder: string): RunManifest | CollectionManifest => {
  const path = join(folder, MANIFEST);
  if (!existsSync(path)) throw new DatasetError(`${folder} is no data set: it has no ${MANIFEST}`);
  const manifest = parsed<RunManifest | CollectionManifest>(path, bytesIn(folder, MANIFEST).toString('utf8'));
  if (manifest.schema !== SCHEMA)
    throw new DatasetError(`${path} has the schema ${JSON.stringify(manifest.schema)}; this release reads ${SCHEMA}`);
  checkPaths(folder, manifest);
  return manifest;
};

/** A manifest may come from elsewhere: what it names must be below its folder, each once. */
const checkPaths = (folder: string, manifest: RunManifest | CollectionManifest): void => {
  const refuse: (why: string) => never = (why) => {
    throw new DatasetError(`${join(folder, MANIFEST)} ${why}`);
  };
  const { kind } = manifest;
  if (kind !== 'run' && kind !== 'collection') refuse(`has the kind ${JSON.stringify(kind)}, not run or collection`);
  const named: unknown = kind === 'run' ? manifest.files : manifest.runs;
  if (!Array.isArray(named)) refuse(`has no list of ${kind === 'run' ? 'files' : 'runs'}`);
  const seen = new Set<string>();
  for (const one of named as readonly unknown[]) {
    const path: unknown = typeof one === 'object' && one !== null ? Reflect.get(one, 'path') : undefined;
    if (typeof path !== 'string') refuse('names something without a path');
    const full = asDatasetError(
      () => pathInFolder(folder, path),
      `${join(folder, MANIFEST)} names a path outside of its folder`,
    );
    if (seen.has(full)) refuse(`names ${JSON.stringify(path)} twice`);
    seen.add(full);
  }
};

/** The work; a file that cannot be used is damage of the data set. */
const asDatasetError = <Value>(work: () => Value, what: string): Value => {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof UserFileError) throw new DatasetError(`${what}: ${cause.message}`, { cause });
    throw cause;
  }
};

/**
 * Reads a file of a data set.
 * @throws DatasetError if it is missing, no regular file, or a link to a file outside of the folder
 */
export const bytesIn = (folder: string, name: string): Buffer => {
  const path = join(folder, name);
  try {
    if (isInFolder(folder, path)) return readUserFile(path, FILE_BYTES_MAX);
  } catch (cause) {
    if (cause instanceof UserFileError) throw new DatasetError(cause.message, { cause });
    throw new DatasetError(`${path} cannot be read: the data set is not complete`, { cause });
  }
  throw new DatasetError(`${path} is a link that leads out of the data set`);
};

/** Folders of the runs of a data set: the folder itself, or those of its runs. @throws DatasetError */
export const runFolders = (folder: string): readonly string[] => {
  const manifest = readManifest(folder);
  if (manifest.kind === 'run') return [folder];
  for (const { path } of manifest.runs)
    if (existsSync(join(folder, path)) && !isInFolder(folder, join(folder, path)))
      throw new DatasetError(`${join(folder, path)} is a link that leads out of the data set`);
  return manifest.runs.map(({ path }) => join(folder, path));
};

/** Reads a run. @throws DatasetError naming the file that is missing or damaged */
export const readRun = (folder: string): RunData => {
  const manifest = readManifest(folder);
  if (manifest.kind !== 'run') throw new DatasetError(`${folder} holds several runs: name the folder of one of them`);
  const { schema: _, kind: __, files: ___, ...facts } = manifest;
  const read = <Value>(path: string): readonly Value[] => linesOf(folder, path);
  return {
    facts,
    traces: read(runFiles.traces),
    metrics: read(runFiles.metrics),
    logs: read(runFiles.logs),
    events: read(runFiles.events),
    edges: read(runFiles.edges),
    faults: read(runFiles.faults),
    exports: read(runFiles.exports),
    corruption: read(runFiles.corruption),
    io: read(runFiles.io),
    experiment: bytesIn(folder, runFiles.experiment).toString('utf8'),
  };
};

const parsed = <Value>(path: string, text: string): Value => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DatasetError(`${path} is damaged: it holds no JSON`, { cause });
  }
};

const linesOf = <Value>(folder: string, name: string): readonly Value[] =>
  bytesIn(folder, name)
    .toString('utf8')
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [parsed<Value>(join(folder, name), line)]));
