import { type Channel, DATA_MESSAGE_BYTES_MAX, openChannel, type Workload } from '@interlock/rpc';
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
import { ExitCode, failureJson, failureOf, failureText } from './failure.ts';
import { durationMs } from './field-values.ts';
import { runLauncher, stopCloud } from './launcher.ts';
import type { NameDefaults } from './names.ts';
import { programOf } from './program.ts';
import type { Runner } from './runner.ts';
import { type Session, type Terminal, writeJson } from './session.ts';
import { dataFolder, type Environment, readSettings } from './settings.ts';
import { showStatus } from './status.ts';
import { showTrace } from './trace.ts';

/** A call that does not say otherwise waits this long. */
const DEADLINE_MS = 10_000;

/** How long the end of a command waits for its spans to be taken. */
const FLUSH_MS = 1_000;

/** Runs one command line. @returns the exit code; what went wrong has been shown */
export async function run(args: readonly string[], env: Environment, terminal: Terminal): Promise<number> {
  const isJson = args.includes('--json');
  // Filled in while the command runs, for the error that ends it.
  const known: { names: NameDefaults; trace: string | undefined; exitCode: number } = {
    names: { subscription: undefined, group: undefined },
    trace: undefined,
    exitCode: ExitCode.ok,
  };
  const withSession: Runner['withSession'] = async (name, flags, work) => {
    const settings = readSettings(flags, env);
    known.names = settings.names;
    const timeoutMs = flags.timeout === undefined ? undefined : durationMs(flags.timeout, '--timeout');
    const scope = createScope();
    try {
      const telemetry = startTelemetry({
        service: 'interlock-cli',
        random: systemRandom,
        tracesEndpoint: settings.tracesEndpoint,
        disabled: settings.tracesEndpoint === undefined,
      });
      scope.defer('telemetry', () => atMost(FLUSH_MS, telemetry.shutdown()));
      const opened = new Map<Workload, Channel>();
      const tls = { ca: settings.authority, ...settings.client };
      const channel = (service: Workload): Channel => {
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
        dataChannel: (address) => openChannel({ address, tls, messageBytesMax: DATA_MESSAGE_BYTES_MAX }),
      };
      await inSpan(telemetry.tracer, `interlock ${name}`, {}, (span) => {
        known.trace = traceIdOf(traceparentOf(span.spanContext()));
        return work({ ...session, trace: known.trace });
      });
    } finally {
      await scope.close();
    }
  };
  const program = programOf({
    withSession,
    up: async (flags) => {
      known.exitCode = await runLauncher('up.ts', dataFolder(flags, env), env);
    },
    rehearse: async (flags) => {
      known.exitCode = await runLauncher('start.ts', dataFolder(flags, env), env);
    },
    down: (flags) => stopCloud(dataFolder(flags, env), systemClock, terminal),
    status: (flags) =>
      withSession('status', flags, async (session) => {
        if (!(await showStatus(session))) known.exitCode = ExitCode.unreachable;
      }),
    trace: (id, flags) => showTrace(id, dataFolder(flags, env), terminal, flags.json === true),
    print: (text) => terminal.out(text.trimEnd()),
    printUsage: (text) => terminal.err(text.trimEnd()),
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return known.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return ExitCode.usage;
    const failure = failureOf(error, known.trace, known.names);
    if (isJson) writeJson({ ...terminal, out: terminal.err }, failureJson(failure));
    else terminal.err(failureText(failure));
    return failure.exitCode;
  }
}

/** Waits for the work, but no longer than that: an end that takes long is nobody's interest here. */
async function atMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work, systemClock.sleep(limitMs, over.signal)]);
  over.abort();
}
