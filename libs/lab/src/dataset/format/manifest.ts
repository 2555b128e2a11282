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
  readonly versions: Readonly<Record<string, string>>;
  readonly hardware: Readonly<Record<string, string | number>>;
  readonly files: readonly ManifestFile[];
  /** Changes of the run since it was recorded, oldest first. */
  readonly changes: readonly string[];
}

/** `manifest.json` of a folder with several runs, each in a folder of its own. */
export interface CollectionManifest {
  readonly schema: typeof SCHEMA;
  readonly kind: 'collection';
  readonly title: string;
  readonly runs: readonly { readonly path: string; readonly seed: number; readonly sha256: string }[];
  /** Paths of runs, by seed, so that no run is in two. */
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

/** Splits runs by the last digit of their number: 70 % train, 10 % validation, 20 % test. */
export const splitsOf = (paths: readonly string[]): CollectionManifest['splits'] => {
  const of = (isIn: (digit: number) => boolean): readonly string[] => paths.filter((_, index) => isIn(index % 10));
  return { train: of((digit) => digit < 7), validation: of((digit) => digit === 7), test: of((digit) => digit > 7) };
};
