import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { distributionOf, profileOf } from '../format/distribution.ts';
import { bytesIn, DatasetError, MANIFEST, readManifest, readRun, runFolders, sha256 } from '../format/folder.ts';
import { type CollectionManifest, RUN_ATTRIBUTE, type RunManifest } from '../format/manifest.ts';
import { attributeOf, type OtlpResource } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { wrongTruth } from './recompute.ts';
import { missingSpans, spanNotes } from './spans.ts';

/** Most reported problems of one kind. */
const NAMED_MAX = 5;

/** All problems of a data set, one line each; empty if it is sound. */
export const checkDataset = (folder: string): readonly string[] => {
  try {
    const manifest = readManifest(folder);
    if (manifest.kind === 'run') return checkRun(folder, manifest);
    const whole = manifest.runs.flatMap(({ path, sha256: expected }) => {
      if (!existsSync(join(folder, path, MANIFEST))) return [`${path}/manifest.json is missing`];
      const found = sha256(bytesIn(folder, join(path, MANIFEST)));
      const changed = found === expected ? [] : [`${path}/manifest.json has the SHA-256 ${found}, not ${expected}`];
      return [...changed, ...checkDataset(join(folder, path)).map((problem) => `${path}: ${problem}`)];
    });
    return whole.length > 0 ? whole : wrongCollection(folder, manifest);
  } catch (error) {
    if (error instanceof DatasetError) return [error.message];
    throw error;
  }
};

/** What a reader of a sound data set should know: spans that were lost before they were recorded. One line each. */
export const datasetNotes = (folder: string): readonly string[] =>
  runFolders(folder).flatMap((run) => {
    const where = run === folder ? '' : `${relative(folder, run)}: `;
    return spanNotes(readRun(run)).map((note) => `${where}${note}`);
  });

/** What a collection derives from its runs: their graphs, the distribution, and splits that share no graph. */
const wrongCollection = (folder: string, manifest: CollectionManifest): readonly string[] => {
  const profiles = manifest.runs.map(({ path }) => profileOf(readRun(join(folder, path))));
  const graphs = manifest.runs.flatMap(({ path, graph }, index) =>
    profiles[index]?.graph === graph
      ? []
      : [`manifest.json: ${path} has the graph ${profiles[index]?.graph}, not ${graph}`],
  );
  const isSame = isDeepStrictEqual(distributionOf(profiles), manifest.distribution);
  const graphOf = new Map(manifest.runs.map(({ path, graph }) => [path, graph]));
  const splits = Object.values(manifest.splits).map((paths) => new Set(paths.map((path) => graphOf.get(path))));
  const isShared = splits.some((some, index) =>
    splits.slice(index + 1).some((other) => [...some].some((graph) => other.has(graph))),
  );
  return [
    ...graphs,
    ...(isSame ? [] : ['manifest.json: the distribution is not that of the runs']),
    ...(isShared ? ['manifest.json: two splits share a causal graph'] : []),
  ];
};

const checkRun = (folder: string, manifest: RunManifest): readonly string[] => {
  const broken = manifest.files.flatMap(({ path, sha256: expected }) => {
    if (!existsSync(join(folder, path))) return [`${path} is missing`];
    const found = sha256(bytesIn(folder, path));
    return found === expected ? [] : [`${path} has the SHA-256 ${found}, not ${expected}: it was changed`];
  });
  // With missing or changed files, further checks are useless.
  if (broken.length > 0) return broken;
  const data = readRun(folder);
  const references = [...otherRuns(data), ...danglingReferences(data), ...cyclicCauses(data)];
  // What is derived from broken references would be wrong as well.
  return references.length > 0 ? references : [...few(wrongTruth(data)), ...missingSpans(data)];
};

const few = (problems: readonly string[]): readonly string[] =>
  problems.length <= NAMED_MAX
    ? problems
    : [...problems.slice(0, NAMED_MAX), `… and ${problems.length - NAMED_MAX} more like the last one`];

const otherRuns = ({ facts, traces, metrics, logs }: RunData): readonly string[] => {
  const resourcesOf = (file: string, resources: readonly (OtlpResource | undefined)[]): readonly string[] =>
    few(
      resources.flatMap((resource, index) => {
        const run = attributeOf(resource?.attributes, RUN_ATTRIBUTE);
        if (run === facts.run) return [];
        return [
          `${file}: resource ${index + 1} belongs to ${run === undefined ? 'no run' : `the run ${run}`}, not to ${facts.run}`,
        ];
      }),
    );
  return [
    ...resourcesOf(
      'traces.otlp.jsonl',
      traces.flatMap(({ resourceSpans = [] }) => resourceSpans.map((one) => one.resource)),
    ),
    ...resourcesOf(
      'metrics.otlp.jsonl',
      metrics.flatMap(({ resourceMetrics = [] }) => resourceMetrics.map((one) => one.resource)),
    ),
    ...resourcesOf(
      'logs.otlp.jsonl',
      logs.flatMap(({ resourceLogs = [] }) => resourceLogs.map((one) => one.resource)),
    ),
  ];
};

const danglingReferences = ({ events, edges, faults }: RunData): readonly string[] => {
  const ids = new Set<string>();
  const twice: string[] = [];
  for (const { id } of events) {
    if (ids.has(id)) twice.push(`truth/events.jsonl: the event ${id} is there twice`);
    ids.add(id);
  }
  const causes = events.flatMap(({ id, causes: all }) =>
    all
      .filter((cause) => !ids.has(cause.id))
      .map((cause) => `truth/events.jsonl: the event ${id} names the cause ${cause.id}, which does not exist`),
  );
  const ends = edges.flatMap(({ from, to }) =>
    [from, to]
      .filter((id) => !ids.has(id))
      .map((id) => `truth/edges.jsonl: an edge names the event ${id}, which does not exist`),
  );
  const roots = faults.flatMap(({ name, rootEvent, firstEffect }) =>
    [rootEvent, firstEffect].flatMap((id) =>
      id === undefined || ids.has(id)
        ? []
        : [`truth/faults.jsonl: ${name} names the event ${id}, which does not exist`],
    ),
  );
  return [twice, causes, ends, roots].flatMap(few);
};

/** Removes events whose causes are all removed, until none is left: what remains is on a cycle or behind one. */
const cyclicCauses = ({ events }: RunData): readonly string[] => {
  const known = new Set(events.map(({ id }) => id));
  const waiting = new Map(events.map(({ id, causes }) => [id, causes.filter((cause) => known.has(cause.id)).length]));
  const effects = Map.groupBy(
    events.flatMap(({ id, causes }) => causes.map((cause) => ({ cause: cause.id, id }))),
    ({ cause }) => cause,
  );
  const free = [...waiting].flatMap(([id, count]) => (count === 0 ? [id] : []));
  for (let id = free.pop(); id !== undefined; id = free.pop()) {
    waiting.delete(id);
    for (const effect of effects.get(id) ?? []) {
      const left = (waiting.get(effect.id) ?? 0) - 1;
      waiting.set(effect.id, left);
      if (left === 0) free.push(effect.id);
    }
  }
  const [first] = waiting.keys();
  return first === undefined
    ? []
    : [`truth/events.jsonl: ${waiting.size} events cause each other in a cycle, or follow from one: ${first}`];
};
