import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { filled, single } from './once.ts';
import type { Runner } from './runner.ts';

/** The script of the clone that records. */
const script = 'e2e/experiments/dataset/main.ts';

const recordFlags = ['seed', 'target', 'runs'] as const;

const archiveFlags = ['seed', 'runs', 'real'] as const;

type OutFlags = GlobalFlags & { readonly out: string };
type ExportFlags = OutFlags & { readonly links?: string; readonly blind?: boolean };

/** Adds `dataset record`, `archive`, `check`, `degrade`, `sample`, `path`, `score` and `export`. */
export function addDatasetCommands(program: Command, runner: Pick<Runner, 'inClone' | 'offline'>): void {
  const dataset = program
    .command('dataset')
    .description('records runs as data sets of traces with exact causes, and works on them')
    .usage('<verb> <file or folder> [--flags]');
  addRecord(dataset, runner);
  addArchive(dataset, runner);
  addCheck(dataset, runner);
  addChanges(dataset, runner);
  addReadings(dataset, runner);
}

const outOption = (what: string) => filled('--out <folder>', `${what}; new or empty`).makeOptionMandatory();

function addRecord(dataset: Command, runner: Pick<Runner, 'inClone'>): void {
  const record = dataset
    .command('record')
    .description('runs an experiment and writes its telemetry beside what really happened')
    .argument('<file>', 'the experiment file, or study: runs that draw an experiment each from their seeds')
    .addOption(outOption('where the data set goes'))
    .addOption(single('--seed <n>', 'in place of the seed of the file'))
    .addOption(
      filled(
        '--target <local|simulated>',
        'a local cloud of real processes (default), or virtual time: same seed, same bytes',
      ),
    )
    .addOption(single('--runs <n>', 'so many runs, each with the next seed and in a folder of its own'));
  record.action((file: string) => {
    const flags: OutFlags & { readonly [Flag in (typeof recordFlags)[number]]?: string } = record.optsWithGlobals();
    const args = recordFlags.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]));
    return runner.inClone(script, [resolve(file), `--out=${resolve(flags.out)}`, ...args], flags);
  });
}

function addArchive(dataset: Command, runner: Pick<Runner, 'inClone'>): void {
  const archive = dataset
    .command('archive')
    .description('records a study, adds exports, datasheet and checksums, writes it as one .tar and prints its SHA-256')
    .addOption(outOption('where the data set goes; the archive is beside it, with .tar'))
    .addOption(single('--runs <n>', 'simulated runs (default 100)'))
    .addOption(single('--real <n>', 'runs of real processes, about a minute each (default 20)'))
    .addOption(single('--seed <n>', 'the first seed of both (default 1)'));
  archive.action(() => {
    const flags: OutFlags & { readonly [Flag in (typeof archiveFlags)[number]]?: string } = archive.optsWithGlobals();
    const args = archiveFlags.flatMap((name) => (flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]));
    return runner.inClone(script, ['archive', `--out=${resolve(flags.out)}`, ...args], flags);
  });
}

function addCheck(dataset: Command, runner: Pick<Runner, 'offline'>): void {
  const check = dataset
    .command('check')
    .description('names what is wrong with a data set; exit code 1 if anything is')
    .argument('<folder>', 'the data set');
  check.action((folder: string) =>
    runner.offline(check.optsWithGlobals(), async (parts) => {
      const { checkFolder } = await import('./dataset.ts');
      return checkFolder(folder, parts);
    }),
  );
}

function addChanges(dataset: Command, runner: Pick<Runner, 'offline'>): void {
  const degrade = dataset
    .command('degrade')
    .description('writes a copy with damaged spans, and what was done to each in truth/corruption.jsonl')
    .argument('<folder>', 'the data set')
    .addOption(outOption('where the copy goes'))
    .addOption(single('--drop <percent>', 'spans that are left out, for example 5%'))
    .addOption(single('--late <percent>', 'spans whose times are late'))
    .addOption(single('--late-by <duration>', 'how late these are (default 100ms)'))
    .option('--skew <service=±duration>', 'a clock that is wrong, for example disk=+200ms. Can be repeated', gathered)
    .addOption(single('--seed <n>', 'decides which spans (default 1)'));
  degrade.action((folder: string) =>
    runner.offline(degrade.optsWithGlobals(), async (parts) => {
      const { degradeFolder } = await import('./dataset.ts');
      return degradeFolder(folder, degrade.optsWithGlobals(), parts);
    }),
  );
  const sample = dataset
    .command('sample')
    .description('writes a copy with the traces that a sampling policy keeps')
    .argument('<folder>', 'the data set')
    .addOption(outOption('where the copy goes'))
    .addOption(
      filled(
        '--policy <policy>',
        'ratio:0.1 (head), tail (errors and slow traces), chain:0.1 (linked traces as a whole)',
      ).makeOptionMandatory(),
    );
  sample.action((folder: string) =>
    runner.offline(sample.optsWithGlobals(), async (parts) => {
      const { sampleFolder } = await import('./dataset.ts');
      return sampleFolder(folder, sample.optsWithGlobals(), parts);
    }),
  );
}

function addReadings(dataset: Command, runner: Pick<Runner, 'offline'>): void {
  const path = dataset
    .command('path')
    .description('shows how events of a type came about: from stored causes, and from spans')
    .argument('<folder>', 'the data set of one run')
    .addOption(filled('--event <type>', 'for example VmStopped').makeOptionMandatory());
  path.action((folder: string) =>
    runner.offline(path.optsWithGlobals(), async (parts) => {
      const { showPaths } = await import('./dataset.ts');
      const { event }: { event: string } = path.optsWithGlobals();
      return showPaths(folder, event, parts);
    }),
  );
  const score = dataset
    .command('score')
    .description('scores predictions of causes beside baselines that read no labels: parents, links, both, timestamps')
    .argument('<folder>', 'the data set')
    .argument('[predictions...]', 'files with predictions: libs/lab/src/dataset/README.md has their form')
    .option('--labelled', 'also the methods that read answers: labels in the spans, and the truth');
  score.action((folder: string, predictions: readonly string[]) =>
    runner.offline(score.optsWithGlobals(), async (parts) => {
      const { scoreFolder } = await import('./dataset.ts');
      const { labelled = false }: { labelled?: boolean } = score.optsWithGlobals();
      return scoreFolder(folder, { predictions, labelled }, parts);
    }),
  );
  const exporting = dataset
    .command('export')
    .description('writes a data set in another --format: openrca, rcaeval, jaeger or parquet')
    .argument('<folder>', 'the data set')
    .addOption(outOption('where the files go'))
    .addOption(filled('--links <view>', 'links as recorded (links, default), as parents, or both'))
    .option('--blind', 'without the attributes that hold answers: interlock.cause.ids and interlock.event.ids');
  exporting.action((folder: string) => {
    // `--format` is the format of the export here, not of the output, which is a line of text.
    const { format, ...flags }: ExportFlags = exporting.optsWithGlobals();
    return runner.offline(flags, async (parts) => {
      const { exportFolder } = await import('./dataset.ts');
      return exportFolder(folder, { ...flags, format: format ?? '' }, parts);
    });
  });
}

const gathered = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];
