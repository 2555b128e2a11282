import { type Channel, DATA_MESSAGE_BYTES_MAX, openChannel, RpcFailure, type Workload } from '@interlock/rpc';
import { createScope, inSpan, systemClock, systemRandom, traceIdOf, traceparentOf } from '@interlock/runtime';
import { type Tracer, trace as traces } from '@opentelemetry/api';
import { caller } from '../request/calls.ts';
import type { NameDefaults } from '../request/names.ts';
import type { ClusterCloud } from './place.ts';
import type { Session } from './session.ts';
import type { Settings } from './settings.ts';

/** Default deadline in milliseconds: longer than the replacement of a pod (13 s measured). */
const DEADLINE_MS = 20_000;

/** How long the end of a command waits for the export of its spans, in milliseconds. */
const FLUSH_MS = 1_000;

/** State of a running command that its error needs. */
export interface CommandState {
  /** Names for help: a command without the flags of this one. */
  names: NameDefaults;
  /** Trace of the command. */
  trace: string | undefined;
}

/** What a session is opened with. */
export interface SessionParts extends Pick<Session, 'terminal' | 'program' | 'typed' | 'output' | 'timeoutMs'> {
  readonly settings: Settings;
  /** The cluster, where the cloud is in one. */
  readonly cluster: ClusterCloud | undefined;
  readonly found: CommandState;
}

/**
 * Opens a session, runs the work in a trace named after the command, and closes the session. A separate module, because it loads
 * gRPC, which help and usage errors do not need.
 */
export async function inSession(
  name: string,
  { settings, cluster, found, ...shown }: SessionParts,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const scope = createScope();
  try {
    const tracer = await tracerFor(settings, (flush) => scope.defer('telemetry', () => atMost(FLUSH_MS, flush())));
    const opened = new Map<Workload, Channel>();
    const tls = { ca: settings.authority, ...settings.client };
    const channel = (service: Workload, method: string): Channel => {
      const problem = cluster?.absent.get(service);
      if (problem !== undefined) throw new RpcFailure('UNAVAILABLE', method, service, problem);
      const known = opened.get(service) ?? openChannel({ address: settings.addresses[service], tls });
      if (!opened.has(service)) scope.defer(`channel to ${service}`, () => known.close());
      opened.set(service, known);
      return known;
    };
    const base = { clock: systemClock, random: systemRandom, tracer };
    const { credentials } = settings;
    const session: Omit<Session, 'trace'> = {
      ...base,
      ...shown,
      caller: caller({ ...base, channel, credentials, deadlineMs: shown.timeoutMs ?? DEADLINE_MS }),
      settings,
      dataChannel: (address) =>
        openChannel({
          address: cluster?.dataAddress(address) ?? address,
          tls,
          messageBytesMax: DATA_MESSAGE_BYTES_MAX,
        }),
    };
    await inSpan(tracer, `interlock ${name}`, {}, (span) => {
      found.trace = traceIdOf(traceparentOf(span.spanContext()));
      return work({ ...session, trace: found.trace });
    });
  } finally {
    await scope.close();
  }
}

/** The tracer. The SDK is loaded only if spans are exported. */
async function tracerFor(
  { tracesEndpoint }: Settings,
  beforeEnd: (flush: () => Promise<unknown>) => void,
): Promise<Tracer> {
  if (tracesEndpoint === undefined) return traces.getTracer('interlock-cli');
  const { startTelemetry } = await import('@interlock/runtime/telemetry');
  const telemetry = startTelemetry({ service: 'interlock-cli', random: systemRandom, tracesEndpoint });
  beforeEnd(() => telemetry.shutdown());
  return telemetry.tracer;
}

/** Waits for work, at most `limitMs`. */
async function atMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work, systemClock.sleep(limitMs, over.signal)]);
  over.abort();
}
