/** Version of the layout of a data set. */
export const SCHEMA = 'interlock-dataset/2';

/** Attribute of each resource: the run that it belongs to. */
export const RUN_ATTRIBUTE = 'interlock.run.id';

/** A file of a data set. */
export interface ManifestFile {
  /** From the folder, with `/`. */
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Lines, for `.jsonl`. */
  readonly records?: number;
}

/** `manifest.json` of one run. */
export interface RunManifest {
  readonly schema: typeof SCHEMA;
  readonly kind: 'run';
  readonly run: string;
  readonly title: string;
  readonly seed: number;
  readonly target: string;
  /** UTC; virtual time in the simulation. */
  readonly startedAt: string;
  readonly endedAt: string;
  /** Outcome of the experiment's verdict. */
  readonly outcome: string;
  /** The sources that recorded it; absent for data that were made otherwise. */
  readonly source?: Source;
  readonly versions: Readonly<Record<string, string>>;
  readonly hardware: Readonly<Record<string, string | number>>;
  readonly files: readonly ManifestFile[];
  /** Changes of the run since it was recorded, oldest first. */
  readonly changes: readonly string[];
}

/** Least, mean and most of a number over the runs. */
export interface Spread {
  readonly least: number;
  readonly mean: number;
  readonly most: number;
}

/** What the runs of a data set have together. */
export interface Distribution {
  readonly runs: number;
  /** Causal graphs that differ in more than ids and times. */
  readonly distinctGraphs: number;
  readonly machines: Spread;
  readonly events: Spread;
  readonly edges: Spread;
  readonly spans: Spread;
  /** How many runs have each action. */
  readonly actions: Readonly<Record<string, number>>;
  readonly symptoms: number;
  readonly symptomsInOtherTraces: number;
}

/** A run of a collection. */
export interface CollectionRun {
  readonly path: string;
  readonly seed: number;
  readonly sha256: string;
  /** `graphHash` of its events. */
  readonly graph: string;
}

/** The sources that recorded a run. */
export interface Source {
  /** Version of the root's package.json. */
  readonly version: string;
  /** Full id of the commit. */
  readonly commit: string;
  /** Date of the commit, `2026-12-01`. */
  readonly date: string;
}

/** `manifest.json` of a folder with several runs, each in a folder of its own. */
export interface CollectionManifest {
  readonly schema: typeof SCHEMA;
  readonly kind: 'collection';
  readonly title: string;
  readonly runs: readonly CollectionRun[];
  /** The sources that recorded the runs; absent for data that were made otherwise. */
  readonly source?: Source;
  /** What the runs are like together. */
  readonly distribution: Distribution;
  /** Paths of runs, so that no causal graph is in two. */
  readonly splits: Readonly<Record<'train' | 'validation' | 'test', readonly string[]>>;
}

/** Files that every run has. */
export const runFiles = {
  traces: 'traces.otlp.jsonl',
  metrics: 'metrics.otlp.jsonl',
  logs: 'logs.otlp.jsonl',
  events: 'truth/events.jsonl',
  edges: 'truth/edges.jsonl',
  faults: 'truth/faults.jsonl',
  exports: 'truth/exports.jsonl',
  corruption: 'truth/corruption.jsonl',
  io: 'truth/io.jsonl',
  experiment: 'experiment.yaml',
  datasheet: 'DATASHEET.md',
  citation: 'CITATION.cff',
} as const;

/** Splits runs by the last digit of the number of their causal graph: of the graphs, 70 % train, 10 % validation, 20 % test. */
export const splitsOf = (runs: readonly Pick<CollectionRun, 'path' | 'graph'>[]): CollectionManifest['splits'] => {
  const numbers = new Map([...new Set(runs.map(({ graph }) => graph))].map((graph, index) => [graph, index]));
  const of = (isIn: (digit: number) => boolean): readonly string[] =>
    runs.flatMap(({ path, graph }) => (isIn((numbers.get(graph) ?? 0) % 10) ? [path] : []));
  return { train: of((digit) => digit < 7), validation: of((digit) => digit === 7), test: of((digit) => digit > 7) };
};
