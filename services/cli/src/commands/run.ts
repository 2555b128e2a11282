import { systemClock, systemRandom } from '@interlock/runtime';
import { CommanderError } from 'commander';
import { type Failure, failureJson, failureOf, failureText } from '../failure.ts';
import { outputOf, wantsDocument } from '../output/output.ts';
import { pasteable, typedLine } from '../output/pasteable.ts';
import type { Terminal } from '../output/terminal.ts';
import { ExitCode } from '../problems.ts';
import { timeoutMs as timeoutIn } from '../request/field-values.ts';
import { type Environment, type GlobalFlags, withoutEmpty } from '../session/environment.ts';
import type { CommandState } from '../session/open-session.ts';
import { type ClusterCloud, type ClusterPlace, localData, type Place, placeOf } from '../session/place.ts';
import { readSettings } from '../session/settings.ts';
import { completeCommand } from './completion.ts';
import { upArguments } from './local-commands.ts';
import { programOf } from './program.ts';
import type { Runner } from './runner.ts';

/** State of one run. */
interface Running extends CommandState {
  readonly args: readonly string[];
  readonly env: Environment;
  readonly terminal: Terminal;
  /** How users type the command line. */
  readonly program: string;
  /** Exit code when nothing is thrown. */
  exitCode: number;
  /** Shows an error. */
  showFailure(failure: Failure): void;
}

/**
 * Runs one command line and shows its error. @returns the exit code
 * @param program how users type it; commands in help begin with it
 */
export async function run(
  args: readonly string[],
  environment: Environment,
  { err, ...rest }: Terminal,
  program = 'interlock',
): Promise<number> {
  const terminal: Terminal = { ...rest, err: (text) => err(pasteable(text, program)) };
  const isDocument = wantsDocument(args);
  const running: Running = {
    args,
    env: withoutEmpty(environment),
    terminal,
    program,
    names: { subscription: undefined, group: undefined },
    trace: undefined,
    exitCode: ExitCode.ok,
    showFailure: (failure) => {
      if (isDocument) terminal.err(JSON.stringify(failureJson(failure), undefined, 2));
      else terminal.err(failureText(failure));
    },
  };
  try {
    await programOf(runnerOf(running), args).parseAsync(args, { from: 'user' });
    return running.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return ExitCode.usage;
    const failure = failureOf(error, running.trace, running.names);
    running.showFailure(failure);
    return failure.exitCode;
  }
}

/**
 * `interlock status` shows what there is after 10 s, whatever is slow: two steps of kubectl, or the gateway of a local cloud (2 s), then
 * one round of calls. `--timeout` sets another time for the calls.
 */
const STATUS_TIMEOUT = '4s';
const STATUS_CLUSTER_MS = 2_500;

/** Runs the commands. Modules that few commands need are imported by those. */
function runnerOf(running: Running): Runner {
  const { env, terminal } = running;
  const withSession = sessionsOf(running);
  return {
    withSession,
    up: async (flags) => {
      const { runLauncher } = await import('./launcher.ts');
      running.exitCode = await runLauncher('deploy/local/up.ts', localData(flags, env), env, upArguments(flags));
    },
    rehearse: (flags) => rehearse(flags, running),
    down: async (flags) => {
      const { stopCloud } = await import('./launcher.ts');
      return stopCloud(localData(flags, env), systemClock, terminal);
    },
    status: (flags) =>
      withSession('status', { ...flags, timeout: flags.timeout ?? STATUS_TIMEOUT }, async (session) => {
        const { showStatus } = await import('./status.ts');
        const { localProcesses } = await import('./fault.ts');
        const { data, cluster } = placeOf(flags, env);
        const { readGatewayStatus } = await import('./gateway-status.ts');
        const local =
          cluster === undefined
            ? { processes: await localProcesses(data), gateway: await readGatewayStatus(data, session.clock) }
            : {};
        if (await showStatus(session, local)) return;
        running.exitCode = ExitCode.unreachable;
        await reportLauncherGone(flags, running);
      }),
    probe: async (name, flags, work) => {
      try {
        await withSession(name, flags, async (session) => {
          running.exitCode = (await work(session)) ? ExitCode.ok : ExitCode.refused;
        });
      } catch (error) {
        // A probe that cannot read the state fails.
        const failure = failureOf(error, running.trace, running.names);
        if (failure.exitCode === ExitCode.usage) throw error;
        running.showFailure(failure);
        running.exitCode = ExitCode.refused;
      }
    },
    trace: async (id, flags) => {
      const { showTrace } = await import('./trace.ts');
      const { data, cluster } = placeOf(flags, env);
      return showTrace(id, { data, cluster, terminal, output: await outputOf(flags, terminal) });
    },
    offline: async (flags, work) => {
      const code = await work({ env, terminal, output: await outputOf(flags, terminal) });
      if (typeof code === 'number') running.exitCode = code;
    },
    inClone: async (script, args, flags) => {
      const { runLauncher } = await import('./launcher.ts');
      running.exitCode = await runLauncher(script, localData(flags, env), env, args);
    },
    print: (text) => terminal.out(pasteable(text, running.program).trimEnd()),
    printUsage: (text) => terminal.err(text.trimEnd()),
  };
}

/** Opens sessions for commands. */
const sessionsOf =
  (running: Running): Runner['withSession'] =>
  async (name, flags, work) => {
    const { args, env, terminal, program } = running;
    const typed = typedLine(args);
    const timeoutMs = flags.timeout === undefined ? undefined : timeoutIn(flags.timeout);
    const output = await outputOf(flags, terminal);
    const place = placeOf(flags, env);
    const cluster = await clusterAt(place, flags, name === 'status' ? STATUS_CLUSTER_MS : undefined);
    try {
      const found = readSettings(flags, env, cluster === undefined ? place : { ...place, data: cluster.folder });
      // A key that is pressed in a shell is no command, and its spans would be awaited.
      const settings = name === completeCommand ? { ...found, tracesEndpoint: undefined } : found;
      running.names = settings.namesWithoutFlags;
      const { inSession } = await import('../session/open-session.ts');
      await inSession(name, { settings, cluster, found: running, terminal, program, typed, output, timeoutMs }, work);
    } finally {
      cluster?.close();
    }
  };

async function rehearse(flags: Parameters<Runner['rehearse']>[0], running: Running): Promise<void> {
  const { env, terminal } = running;
  const out = localData(flags, env);
  if (flags.kubernetes !== true) {
    const { runLauncher } = await import('./launcher.ts');
    running.exitCode = await runLauncher('e2e/rehearsal/start.ts', out, env);
    return;
  }
  const { rehearseOnCluster } = await import('../cluster/cluster.ts');
  const parts = { clock: systemClock, random: systemRandom, terminal, out, image: flags.image };
  const hasPassed = await rehearseOnCluster(rehearsalPlace(flags, env), env, parts);
  running.exitCode = hasPassed ? ExitCode.ok : ExitCode.refused;
}

/** If the launcher has ended, that is why services do not respond. */
async function reportLauncherGone(flags: GlobalFlags, { env, terminal }: Running): Promise<void> {
  const { data, cluster, env: used } = placeOf(flags, env);
  const isElsewhere = cluster !== undefined || Object.keys(used).some((name) => /^INTERLOCK_.+_ADDRESS$/.test(name));
  if (isElsewhere || data === undefined) return;
  const { isLauncherGone } = await import('./launcher.ts');
  if (isLauncherGone(data)) terminal.err(`the launcher of ${data} has ended; npm run up restarts it with its data`);
}

/** The cluster of a rehearsal: kubectl's current context by default. `--data` names the folder of the report. */
function rehearsalPlace({ data: _, ...flags }: GlobalFlags, env: Environment): ClusterPlace {
  const namespace = flags.namespace ?? env.INTERLOCK_NAMESPACE ?? 'interlock';
  return placeOf(flags, env).cluster ?? { context: undefined, namespace };
}

/** The cloud in a cluster, where the place is in one. */
async function clusterAt(
  { cluster, env, context }: Place,
  flags: GlobalFlags,
  limitMs: number | undefined,
): Promise<ClusterCloud | undefined> {
  if (cluster === undefined) return undefined;
  const actsAsOther = (flags.as ?? env.INTERLOCK_AS ?? context.as) !== undefined;
  const { openClusterCloud } = await import('../cluster/cluster.ts');
  return openClusterCloud(cluster, env, actsAsOther, limitMs);
}
