import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { localData } from '../session/place.ts';
import { filled, single } from './once.ts';
import type { Runner } from './runner.ts';

/** The script of the clone that runs experiments. */
const script = 'e2e/experiments/main.ts';

/** Flags of `experiment run`, in the order in which they are passed on. */
const runFlags = ['target', 'keep', 'repeat', 'seed', 'histories', 'sign', 'set'] as const;

/** Flags of every command that say where a cluster is. */
const clusterFlags = (flags: GlobalFlags): readonly string[] => [
  ...(flags.kubeContext === undefined ? [] : [`--kube-context=${flags.kubeContext}`]),
  ...(flags.namespace === undefined ? [] : [`--namespace=${flags.namespace}`]),
];

type RunFlags = GlobalFlags & {
  readonly [Flag in Exclude<(typeof runFlags)[number], 'set'>]?: string;
} & { readonly set?: readonly string[]; readonly forever?: boolean };

/** Flags of `experiment search`, in the order in which they are passed on. */
const searchFlags = ['target', 'budget', 'histories', 'seed', 'output', 'set'] as const;

type SearchFlags = GlobalFlags & {
  readonly [Flag in Exclude<(typeof searchFlags)[number], 'set'>]?: string;
} & { readonly set?: readonly string[] };

/** Adds `experiment run`, `search`, `validate`, `list`, `judge`, `report`, `export` and `recover`. */
export function addExperimentCommands(program: Command, runner: Pick<Runner, 'inClone' | 'offline'>): void {
  const experiment = program
    .command('experiment')
    .description('rehearses the loss of keys under faults, from a file to a verdict')
    .usage('<verb> <file or folder> [--flags]');
  addRun(experiment, runner);
  addSearch(experiment, runner);
  addRecover(experiment, runner);
  addReport(experiment, runner);
  addExport(experiment, runner);
  const validate = experiment
    .command('validate')
    .description('checks experiment files; starts nothing')
    .argument('<file...>', 'experiment files')
    .addOption(filled('--target <local|existing|kubernetes|simulated>', 'also names what this target cannot do'));
  validate.action((files: readonly string[]) => {
    const flags: GlobalFlags & { readonly target?: string } = validate.optsWithGlobals();
    if (flags.target !== undefined) {
      const paths = files.map((file) => resolve(file));
      return runner.inClone(script, ['validate', ...paths, `--target=${flags.target}`, ...clusterFlags(flags)], flags);
    }
    return runner.offline(flags, async (parts) => {
      const { validateFiles } = await import('./experiment.ts');
      return validateFiles(files, parts);
    });
  });
  const judge = experiment
    .command('judge')
    .description('repeats the verdict from kept evidence; nothing else is read')
    .argument('<folder>', 'the evidence of a run')
    .addOption(filled('--verify <file>', 'the public key (PEM, Ed25519) that must have signed the evidence'));
  judge.action((folder: string, { verify }: { readonly verify?: string }) =>
    runner.offline(judge.optsWithGlobals(), async (parts) => {
      const { judgeFolder } = await import('./experiment.ts');
      return judgeFolder(folder, parts, verify);
    }),
  );
  const list = experiment
    .command('list')
    .description('lists the runs whose evidence was kept')
    .argument('[folder]', 'where the runs are; by default experiments/ in the data folder');
  list.action((folder: string | undefined) => {
    const flags: GlobalFlags = list.optsWithGlobals();
    return runner.offline(flags, async (parts) => {
      const { listRuns } = await import('./experiment.ts');
      listRuns(folder ?? join(localData(flags, parts.env), 'experiments'), parts);
    });
  });
}

function addRun(experiment: Command, runner: Pick<Runner, 'inClone'>): void {
  const run = experiment
    .command('run')
    .description('runs an experiment file and ends with the exit code of its outcome')
    .argument('<file>', 'the experiment file')
    .addOption(
      filled(
        '--target <local|existing|kubernetes|simulated>',
        'a local cloud of its own (default), the one that `npm run up` keeps (--data), one in a cluster (--kube-context, --namespace), or virtual time',
      ),
    )
    .addOption(filled('--keep <folder>', 'where the evidence is kept; without it only if the experiment did not hold'))
    .addOption(single('--repeat <n>', 'how often it runs, one run after the other'))
    .addOption(single('--seed <n>', 'in place of the seed of the file'))
    .addOption(single('--histories <n>', 'with --target simulated: plays so many histories and shows the distribution'))
    .option(
      '--forever',
      'with --target simulated: rounds with drawn timelines until Ctrl-C; keeps the files of violated rounds in --keep (default searches/ in the data folder)',
    )
    .addOption(filled('--sign <file>', 'signs the evidence with this private key (PEM, Ed25519)'))
    .option(
      '--set <setting=value>',
      'a setting in place of that of the file, for example leaseTtl=30s. Can be repeated',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .addHelpText('after', outcomes);
  run.action((file: string) => {
    const flags: RunFlags = run.optsWithGlobals();
    const modes =
      flags.forever === true
        ? ['--forever', ...(flags.json === true || flags.format === 'json' ? ['--json'] : [])]
        : [];
    const args = [...passedOn(flags, runFlags), ...modes];
    return runner.inClone(script, ['run', resolve(file), ...args, ...clusterFlags(flags)], flags);
  });
}

/** Flags as arguments of the script; paths are those of the caller's folder. */
function passedOn<Flag extends string>(
  flags: Readonly<Partial<Record<Flag, string | readonly string[]>>>,
  names: readonly Flag[],
): readonly string[] {
  return names.flatMap((name) => {
    const value: string | readonly string[] | undefined = flags[name];
    const values = value === undefined ? [] : typeof value === 'string' ? [value] : value;
    return values.map((one) => `--${name}=${paths.includes(name) ? resolve(one) : one}`);
  });
}

const paths: readonly string[] = ['keep', 'sign', 'output'];

function addSearch(experiment: Command, runner: Pick<Runner, 'inClone'>): void {
  const command = experiment
    .command('search')
    .description(
      'plays drawn timelines with the estate and expectations of an experiment file until one breaks a rule, and writes the smallest that does',
    )
    .argument('<file>', 'the experiment file; its section search says what may vary')
    .addOption(filled('--target <simulated>', 'virtual time (default): the only target that is fast enough'))
    .addOption(single('--budget <duration>', 'when it ends (default 10m)'))
    .addOption(single('--histories <n>', 'most timelines that are played (default 100000)'))
    .addOption(single('--seed <n>', 'seed of the search (default that of the file)'))
    .addOption(filled('--output <file>', 'where a violation is written (default searches/ in the data folder)'))
    .option(
      '--set <setting=value>',
      'a setting in place of that of the file, for example leaseTtl=30s. Can be repeated',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .addHelpText(
      'after',
      '\nExits with 0 if nothing was found, 1 after a violation, 2 for a file or flag that is wrong.',
    );
  command.action((file: string) => {
    const flags: SearchFlags = command.optsWithGlobals();
    return runner.inClone(script, ['search', resolve(file), ...passedOn(flags, searchFlags)], flags);
  });
}

const outcomes = `
The exit code is that of the outcome: 0 held, 1 violated, 3 aborted,
4 inconclusive, 5 vacuous; 2 for a file or flag that is wrong.`;

function addReport(experiment: Command, runner: Pick<Runner, 'offline'>): void {
  const report = experiment
    .command('report')
    .description('writes the page of a run from its evidence, or one page of all runs below a folder')
    .argument('<folder>', 'the evidence of a run, or a folder of such')
    .addOption(filled('--output <file>', 'the page (default report.html or matrix.html in the folder)'));
  report.action((folder: string) => {
    const flags: GlobalFlags & { readonly output?: string } = report.optsWithGlobals();
    return runner.offline(flags, async (parts) => {
      const { reportFolder } = await import('./experiment-report.ts');
      return reportFolder(folder, flags.output, parts);
    });
  });
}

function addExport(experiment: Command, runner: Pick<Runner, 'offline'>): void {
  const command = experiment
    .command('export')
    .description('writes an experiment as files of another chaos tool, with the estate that it needs')
    .argument('<file>', 'the experiment file')
    .addOption(filled('--to <chaos-toolkit|chaos-mesh|litmus>', 'the tool'))
    .addOption(filled('--output <folder>', 'where the files are written (default the folder of the experiment)'))
    .addOption(filled('--image <image>', 'the tools image (default localhost/interlock/tools:0.1.0)'))
    .option('--strict', 'ends with 2 and writes nothing if the tool cannot say every step and expectation');
  command.action((file: string) => {
    const flags: GlobalFlags & {
      readonly to?: string;
      readonly output?: string;
      readonly image?: string;
      readonly strict?: boolean;
    } = command.optsWithGlobals();
    return runner.offline(flags, async (parts) => {
      const { exportFile } = await import('./experiment-export.ts');
      return exportFile(file, flags, parts);
    });
  });
}

function addRecover(experiment: Command, runner: Pick<Runner, 'inClone'>): void {
  const recover = experiment
    .command('recover')
    .description('gives back and restarts what a run left whose runner was ended; may be repeated')
    .argument('<folder>', 'the evidence of the run');
  recover.action((folder: string) => runner.inClone(script, ['recover', resolve(folder)], recover.optsWithGlobals()));
}
