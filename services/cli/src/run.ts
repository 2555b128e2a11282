import { type Channel, DATA_MESSAGE_BYTES_MAX, openChannel, RpcFailure, type Workload } from '@interlock/rpc';
import {
  createScope,
  inSpan,
  startTelemetry,
  systemClock,
  systemRandom,
  traceIdOf,
  traceparentOf,
} from '@interlock/runtime';
import { CommanderError } from 'commander';
import { caller } from './calls.ts';
import { type ClusterCloud, openClusterCloud } from './cluster.ts';
import { rehearseOnCluster } from './cluster-rehearsal.ts';
import { ExitCode, type Failure, failureJson, failureOf, failureText } from './failure.ts';
import { timeoutMs as timeoutIn } from './field-values.ts';
import type { Known } from './hints.ts';
import { type ClusterPlace, openKubectl } from './kubectl.ts';
import { isLauncherGone, runLauncher, stopCloud } from './launcher.ts';
import type { NameDefaults } from './names.ts';
import { programOf } from './program.ts';
import type { Runner } from './runner.ts';
import { type Session, type Terminal, writeJson } from './session.ts';
import {
  dataFolder,
  type Environment,
  type GlobalFlags,
  readSettings,
  withoutEmpty,
  withoutPlaces,
} from './settings.ts';
import { showStatus } from './status.ts';
import { showTrace } from './trace.ts';
import { lookBehind } from './vault-look.ts';

/** A call that does not say otherwise waits this long. */
const DEADLINE_MS = 10_000;

/** How long the end of a command waits for its spans to be taken. */
const FLUSH_MS = 1_000;

/** Runs one command line. @returns the exit code; what went wrong has been shown */
export async function run(args: readonly string[], environment: Environment, terminal: Terminal): Promise<number> {
  const env = withoutEmpty(environment);
  const isJson = args.includes('--json');
  // Filled in while the command runs, for the error that ends it; names as its hint is pasted.
  const known: { names: NameDefaults; trace: string | undefined; behind: Known | undefined; exitCode: number } = {
    names: { subscription: undefined, group: undefined },
    trace: undefined,
    behind: undefined,
    exitCode: ExitCode.ok,
  };
  const showFailure = (failure: Failure): void => {
    if (isJson) writeJson({ ...terminal, out: terminal.err }, failureJson(failure));
    else terminal.err(failureText(failure));
  };
  const withSession: Runner['withSession'] = async (name, flags, work) => {
    const timeoutMs = flags.timeout === undefined ? undefined : timeoutIn(flags.timeout);
    const scope = createScope();
    try {
      const cluster = await clusterOf(flags, env);
      scope.defer('cluster', () => cluster?.close());
      const settings =
        cluster === undefined
          ? readSettings(flags, env)
          : readSettings({ ...flags, data: cluster.folder }, withoutPlaces(env));
      known.names = settings.namesWithoutFlags;
      const telemetry = startTelemetry({
        service: 'interlock-cli',
        random: systemRandom,
        tracesEndpoint: settings.tracesEndpoint,
        disabled: settings.tracesEndpoint === undefined,
      });
      scope.defer('telemetry', () => atMost(FLUSH_MS, telemetry.shutdown()));
      const opened = new Map<Workload, Channel>();
      const tls = { ca: settings.authority, ...settings.client };
      const channel = (service: Workload, method: string): Channel => {
        const problem = cluster?.absent.get(service);
        if (problem !== undefined) throw new RpcFailure('UNAVAILABLE', method, service, problem);
        const found = opened.get(service) ?? openChannel({ address: settings.addresses[service], tls });
        if (!opened.has(service)) scope.defer(`channel to ${service}`, () => found.close());
        opened.set(service, found);
        return found;
      };
      const base = { clock: systemClock, random: systemRandom, tracer: telemetry.tracer };
      const session: Omit<Session, 'trace'> = {
        ...base,
        caller: caller({ ...base, channel, credentials: settings.credentials, deadlineMs: timeoutMs ?? DEADLINE_MS }),
        settings,
        terminal,
        isJson: flags.json === true,
        timeoutMs,
        dataChannel: (address) =>
          openChannel({
            address: cluster?.dataAddress(address) ?? address,
            tls,
            messageBytesMax: DATA_MESSAGE_BYTES_MAX,
          }),
      };
      await inSpan(telemetry.tracer, `interlock ${name}`, {}, (span) => {
        known.trace = traceIdOf(traceparentOf(span.spanContext()));
        return work({ ...session, trace: known.trace }).catch(async (error: unknown) => {
          known.behind = await lookBehind(session.caller, error);
          throw error;
        });
      });
    } finally {
      await scope.close();
    }
  };
  const program = programOf({
    withSession,
    up: async (flags) => {
      const args = [
        ...(flags.replicas === undefined ? [] : ['--replicas', flags.replicas]),
        ...(flags.restartAfter === undefined ? [] : ['--restart-after', flags.restartAfter]),
      ];
      known.exitCode = await runLauncher('up.ts', dataFolder(flags, env), env, args);
    },
    rehearse: async (flags) => {
      if (flags.kubernetes === true) {
        const out = dataFolder(flags, env);
        const parts = { clock: systemClock, random: systemRandom, terminal, out, image: flags.image };
        const hasPassed = await rehearseOnCluster(openKubectl(placeOf(flags, env), env), parts);
        known.exitCode = hasPassed ? ExitCode.ok : ExitCode.refused;
        return;
      }
      known.exitCode = await runLauncher('start.ts', dataFolder(flags, env), env);
    },
    down: (flags) => stopCloud(dataFolder(flags, env), systemClock, terminal),
    status: (flags) =>
      withSession('status', flags, async (session) => {
        if (await showStatus(session)) return;
        known.exitCode = ExitCode.unreachable;
        const data = dataFolder(flags, env);
        const isLocal =
          placeOfCloud(flags, env).context === undefined &&
          !Object.keys(env).some((name) => /^INTERLOCK_.+_ADDRESS$/.test(name));
        if (isLocal && isLauncherGone(data))
          terminal.err(`what ran on ${data} has ended; npm run up starts it again, with its data`);
      }),
    probe: async (name, flags, work) => {
      try {
        await withSession(name, flags, async (session) => {
          known.exitCode = (await work(session)) ? ExitCode.ok : ExitCode.refused;
        });
      } catch (error) {
        // Whoever steers by a probe wants to know whether all is well, and not knowing is not well.
        const failure = failureOf(error, known.trace, known.names, known.behind);
        if (failure.exitCode === ExitCode.usage) throw error;
        showFailure(failure);
        known.exitCode = ExitCode.refused;
      }
    },
    trace: (id, flags) =>
      showTrace(id, {
        data: dataFolder(flags, env),
        place: placeOfCloud(flags, env),
        terminal,
        isJson: flags.json === true,
      }),
    print: (text) => terminal.out(text.trimEnd()),
    printUsage: (text) => terminal.err(text.trimEnd()),
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return known.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return ExitCode.usage;
    const failure = failureOf(error, known.trace, known.names, known.behind);
    showFailure(failure);
    return failure.exitCode;
  }
}

/** Where in which cluster; the flags first. */
function placeOf(flags: GlobalFlags, env: Environment): ClusterPlace {
  const context = flags.context ?? env.INTERLOCK_CONTEXT;
  return {
    context: context === '' ? undefined : context,
    namespace: flags.namespace ?? env.INTERLOCK_NAMESPACE ?? 'interlock',
  };
}

/** The same of the cloud that is spoken to: a folder that a flag names comes before a context of the environment. */
function placeOfCloud(flags: GlobalFlags, env: Environment): ClusterPlace {
  return placeOf(flags, flags.data === undefined ? env : { ...env, INTERLOCK_CONTEXT: undefined });
}

/** The cloud in a cluster, where one is named. */
async function clusterOf(flags: GlobalFlags, env: Environment): Promise<ClusterCloud | undefined> {
  const place = placeOfCloud(flags, env);
  const actsAsOther = (flags.as ?? env.INTERLOCK_AS) !== undefined;
  return place.context === undefined ? undefined : openClusterCloud(openKubectl(place, env), actsAsOther);
}

/** Waits for the work, but no longer than that: an end that takes long is nobody's interest here. */
async function atMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work, systemClock.sleep(limitMs, over.signal)]);
  over.abort();
}
