import { basename, join, relative } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import {
  assertEmpty,
  baselineNames,
  blindMethods,
  checkDataset,
  criticalPaths,
  DatasetError,
  datasetNotes,
  degrade,
  exportFormats,
  exportRuns,
  linkViews,
  meanScore,
  type PathStep,
  type Prediction,
  policyOf,
  predictionOf,
  type RunData,
  readLines,
  readManifest,
  readRun,
  runFolders,
  type Score,
  sample,
  score,
  scoreTable,
  writeCollection,
  writeRun,
} from '@interlock/lab/dataset';
import { ExitCode, UsageError } from '../problems.ts';
import type { OfflineParts } from './runner.ts';

/** Runs `work`; a folder that is not a data set is a usage error. */
const onDataset = <Result>(work: () => Result): Result => {
  try {
    return work();
  } catch (error) {
    if (error instanceof DatasetError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
};

/** Shows what is wrong. @returns 1 if anything is */
export function checkFolder(folder: string, { terminal, output }: OfflineParts): number {
  const problems = checkDataset(folder);
  const notes = problems.length === 0 ? datasetNotes(folder) : [];
  if (output.isDocument) output.write({ problems: [...problems], notes: [...notes] });
  else terminal.out(problems.length === 0 ? [`${folder}: sound`, ...notes].join('\n') : problems.join('\n'));
  return problems.length === 0 ? ExitCode.ok : ExitCode.refused;
}

/** Flags of `dataset degrade`. */
export interface DegradeFlags {
  readonly out: string;
  readonly drop?: string;
  readonly late?: string;
  readonly lateBy?: string;
  readonly skew?: readonly string[];
  readonly seed?: string;
}

/** Writes a damaged copy. @throws UsageError for a flag that cannot be used, and for what is no data set */
export function degradeFolder(folder: string, flags: DegradeFlags, { terminal }: OfflineParts): number {
  const { drop = '0%', late = '0%', lateBy = '100ms', skew = [], seed = '1' } = flags;
  if (!/^\d{1,9}$/.test(seed)) throw new UsageError(`--seed must be a whole number, not "${seed}"`);
  const wanted = {
    drop: fractionOf('--drop', drop),
    late: fractionOf('--late', late),
    lateNano: nanosIn('--late-by', lateBy),
    skew: new Map(skew.map(skewOf)),
  };
  return copied(folder, flags.out, terminal.out, (data, index) =>
    degrade(data, { ...wanted, seed: Number(seed) + index }),
  );
}

/** Writes a sampled copy. @throws UsageError for an unknown policy, and for what is no data set */
export function sampleFolder(
  folder: string,
  { policy, out }: { readonly policy: string; readonly out: string },
  { terminal }: OfflineParts,
): number {
  const wanted = policyOf(policy);
  if (wanted === undefined)
    throw new UsageError(`--policy must be ratio:<0 to 1>, tail or chain:<0 to 1>, not "${policy}"`);
  return copied(folder, out, terminal.out, (data) => sample(data, wanted));
}

/** A changed copy of each run of a data set. */
const copied = (
  folder: string,
  out: string,
  say: (line: string) => void,
  change: (data: RunData, index: number) => RunData,
): number =>
  onDataset(() => {
    assertEmpty(out);
    const manifest = readManifest(folder);
    const runs = runFolders(folder).map((run, index) => {
      const path = relative(folder, run);
      const data = change(readRun(run), index);
      return { path, seed: data.facts.seed, sha256: writeRun(join(out, path), data) };
    });
    if (manifest.kind === 'collection') writeCollection(out, manifest.title, runs);
    say(`${out}: ${runs.length === 1 ? '1 run' : `${runs.length} runs`}`);
    return ExitCode.ok;
  });

const fractionOf = (flag: string, text: string): number => {
  const [, number] = /^(\d{1,3}(?:\.\d+)?)%$/.exec(text) ?? [];
  const fraction = Number(number) / 100;
  if (number === undefined || fraction > 1) throw new UsageError(`${flag} must be 0% to 100%, not "${text}"`);
  return fraction;
};

const nanosIn = (flag: string, text: string): bigint => {
  const [, sign = '', number, unit = ''] = /^([+-]?)(\d+(?:\.\d+)?)(us|ms|s)$/.exec(text) ?? [];
  if (number === undefined)
    throw new UsageError(`${flag} must be a duration such as 200ms, +1.5s or -50us, not "${text}"`);
  const nanos = BigInt(Math.round(Number(number) * { us: 1e3, ms: 1e6, s: 1e9 }[unit as 'us' | 'ms' | 's']));
  return sign === '-' ? -nanos : nanos;
};

const skewOf = (text: string): readonly [string, bigint] => {
  const [, service = '', by = ''] = /^([a-z-]+)=(.+)$/.exec(text) ?? [];
  if (service === '')
    throw new UsageError(`--skew must be <service>=<duration>, for example disk=+200ms, not "${text}"`);
  return [service, nanosIn('--skew', by)];
};

/** Shows the path to each event of a type. */
export function showPaths(folder: string, type: string, { terminal, output }: OfflineParts): number {
  const paths = onDataset(() => criticalPaths(readRun(folder), type));
  if (paths.length === 0) throw new UsageError(`no event of the timeline has the type ${type}`);
  if (output.isDocument) output.write(paths as unknown as JsonValue);
  else
    for (const { event, causes, spans } of paths) {
      terminal.out(`${event.type} ${event.stream} (${event.service}, ${event.id})`);
      terminal.out(['  from causes', ...pathLines(causes), '  from spans', ...pathLines(spans)].join('\n'));
    }
  return ExitCode.ok;
}

const pathLines = (steps: readonly PathStep[]): readonly string[] =>
  steps.map(({ service, what, atMs }, index) => {
    const sinceMs = atMs - (steps[index - 1]?.atMs ?? atMs);
    return `    ${`+${sinceMs.toFixed(1)} ms`.padStart(12)}  ${service.padEnd(20)}  ${what}`;
  });

/** A prediction for one run; `run` names it in a data set of several. */
type PredictionFile = Prediction & { readonly run?: string };

/** Scores the baselines and given predictions in one table. @param wanted.labelled also methods that read answers */
export function scoreFolder(
  folder: string,
  wanted: { readonly predictions: readonly string[]; readonly labelled: boolean },
  { terminal, output }: OfflineParts,
): number {
  const methods = wanted.labelled ? baselineNames : blindMethods;
  const predictions = wanted.predictions.flatMap((file) =>
    predictionsIn(file, Buffer.from(terminal.readFile(file)).toString('utf8')),
  );
  const scores = onDataset(() => {
    const runs = runFolders(folder);
    return runs.flatMap((path) => {
      const data = readRun(path);
      const own = predictions.filter(({ run }) => (run ?? basename(path)) === basename(path));
      return [...methods.map((name) => predictionOf(name, data)), ...own].map((one) => score(data, one));
    });
  });
  const table = [...Map.groupBy(scores, ({ method }) => method).values()].map(meanScore);
  if (output.isDocument) output.write(table as unknown as JsonValue);
  else
    terminal.out(
      [...scoreTable(table), '', ...notes(table, scores.length / table.length), '', ...readLines(table)].join('\n'),
    );
  return ExitCode.ok;
}

const notes = ([first]: readonly Score[], runs: number): readonly string[] => {
  const { edges = 0, trees = 0, symptoms = 0 } = first?.counts ?? {};
  return [
    `${runs === 1 ? '1 run' : `mean of ${runs} runs`}: ${edges} edges, ${trees} trees, ${symptoms} stopped machines behind faults. – : nothing to compare`,
    'P precision, R recall of edges between events, spans, services; trees predicted exactly; paths from fault to stop found;',
    'AC@k: the fault is among the first k candidates; MRR: mean of 1 / its rank.',
  ];
};

const predictionsIn = (file: string, text: string): readonly PredictionFile[] => {
  const refuse = (why: string): never => {
    throw new UsageError(`${file} ${why}: libs/lab/src/dataset/README.md has the form of a prediction`);
  };
  const parsed = ((): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      return refuse('is no JSON');
    }
  })();
  const list = (Array.isArray(parsed) ? parsed : [parsed]) as readonly PredictionFile[];
  const isPrediction = ({ method, reads, edges }: PredictionFile): boolean =>
    typeof method === 'string' &&
    (reads === undefined || (Array.isArray(reads) && reads.every((column) => typeof column === 'string'))) &&
    Array.isArray(edges) &&
    edges.every(({ from, to }) => typeof from === 'string' && typeof to === 'string');
  return list.every((one) => typeof one === 'object' && one !== null && isPrediction(one))
    ? list
    : refuse('is no prediction');
};

/** Writes a data set in another format. */
export function exportFolder(
  folder: string,
  flags: { readonly format: string; readonly links?: string; readonly blind?: boolean; readonly out: string },
  { terminal }: OfflineParts,
): number {
  const format = exportFormats.find((one) => one === flags.format);
  const view = linkViews.find((one) => one === (flags.links ?? 'links'));
  if (format === undefined)
    throw new UsageError(`--format must be one of ${exportFormats.join(', ')}, not "${flags.format}"`);
  if (view === undefined) throw new UsageError(`--links must be one of ${linkViews.join(', ')}, not "${flags.links}"`);
  return onDataset(() => {
    const count = exportRuns(folder, flags.out, { format, view, isBlind: flags.blind === true });
    terminal.out(`${flags.out}: ${count} files`);
    return ExitCode.ok;
  });
}
