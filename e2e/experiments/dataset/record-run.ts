import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { cpus, type as osType, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RecordedEvent } from '@interlock/event-store';
import { readBuild } from '@interlock/host';
import { type Experiment, runExperiment, type Target, verdictOfRun } from '@interlock/lab';
import {
  edgesOf,
  exportsOf,
  faultsOf,
  type LogsRequest,
  type MetricsRequest,
  type RunData,
  type Source,
  type TracesRequest,
  type TruthEvent,
} from '@interlock/lab/dataset';
import type { Workload } from '@interlock/rpc';
import type { SimulatedSpan } from '../../simulation/cloud/recorded-span.ts';
import { type LocalParts, ownCloudTarget } from '../local/own-cloud.ts';
import { simulatedTarget } from '../simulated/target.ts';
import { logsOf, tracesOf } from './otlp-json.ts';
import { truthEvent, truthIo } from './truth.ts';

/** A run to record. */
export interface RunToRecord {
  readonly experiment: Experiment;
  /** The file as it is run. */
  readonly text: string;
  readonly seed: number;
  readonly id: string;
  readonly target: 'local' | 'simulated';
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** Receives all events of a service of a local run, with their data. */
  readonly keepHistory?: (service: Workload, events: readonly RecordedEvent[]) => void;
}

/** What a target provides in addition to the record of its run. */
interface Recording {
  readonly target: Target;
  /** Of the run, once it is over. */
  telemetry(): Pick<RunData, 'traces' | 'metrics' | 'logs'>;
  readonly events: TruthEvent[];
  readonly hardware: RunData['facts']['hardware'];
}

/** A recorded run leaves nothing behind, so there is nothing to recover. */
const noJournal = { append: () => undefined };

/** A run that could not be recorded completely. */
export class IncompleteRun extends Error {
  override readonly name = 'IncompleteRun';
}

const clone = fileURLToPath(new URL('../../..', import.meta.url));

/** The version and the commit of this clone. */
const sourceOfClone = (): Source => {
  const { version, revision } = readBuild();
  const date = execFileSync('git', ['-C', clone, 'show', '--no-patch', '--format=%cs', 'HEAD'], { encoding: 'utf8' });
  return { version, commit: revision, date: date.trim() };
};

/** Runs an experiment and returns everything for its data set. @throws IncompleteRun if it never started */
export const recordRun = async (run: RunToRecord): Promise<RunData> => {
  const { experiment, text, seed, id, signal, say } = run;
  const { target, telemetry, events, hardware } = run.target === 'simulated' ? simulated(run) : local(run);
  const record = await runExperiment({ experiment, target, id, journal: noJournal, signal, say });
  const { startedMs, endedMs = startedMs, problems, versions } = record.run;
  if (startedMs === undefined || endedMs === undefined)
    throw new IncompleteRun(`the run never started: ${problems.join('; ')}`);
  const { traces, metrics, logs } = telemetry();
  const edges = edgesOf(events, traces);
  return {
    facts: {
      run: id,
      title: experiment.title,
      seed,
      target: run.target,
      startedAt: new Date(startedMs).toISOString(),
      endedAt: new Date(endedMs).toISOString(),
      source: sourceOfClone(),
      outcome: verdictOfRun(experiment, record).outcome,
      versions,
      hardware,
      changes: [],
    },
    traces,
    metrics,
    logs,
    events,
    edges,
    faults: faultsOf(record.steps, { events, edges }),
    exports: exportsOf(traces, metrics),
    corruption: [],
    io: record.io.map(truthIo),
    experiment: text,
  };
};

const eventsInto =
  (events: TruthEvent[], microsOf: (id: string) => number = () => 0) =>
  (service: string, stored: readonly RecordedEvent[], sinceMs: number) => {
    for (const event of stored) events.push(truthEvent(service, event, { sinceMs, micros: microsOf(event.id) }));
  };

/** Numbers the events of one virtual millisecond in the order of their commits, as their spans are: work takes no virtual time. */
const commitOrder = () => {
  const micros = new Map<string, number>();
  let last = 0;
  let count = 0;
  return {
    committed: ({ id, time }: RecordedEvent): void => {
      count = time === last ? Math.min(count + 1, 999) : 0;
      last = time;
      micros.set(id, count);
    },
    microsOf: (id: string): number => micros.get(id) ?? 0,
  };
};

const simulated = ({ seed, id }: RunToRecord): Recording => {
  const spans: SimulatedSpan[] = [];
  const events: TruthEvent[] = [];
  let log: readonly string[] = [];
  const order = commitOrder();
  const keep = {
    committed: order.committed,
    events: eventsInto(events, order.microsOf),
    span: (span: SimulatedSpan) => void spans.push(span),
    log: (lines: readonly string[]) => {
      log = lines;
    },
  };
  return {
    target: simulatedTarget(seed, keep),
    telemetry: () => ({ traces: tracesOf(spans, id), metrics: [], logs: logsOf(log, id) }),
    events,
    hardware: { clock: 'virtual' },
  };
};

const local = ({ id, say, keepHistory }: RunToRecord): Recording => {
  const traces: TracesRequest[] = [];
  const metrics: MetricsRequest[] = [];
  const logs: LogsRequest[] = [];
  const events: TruthEvent[] = [];
  const takeTelemetry = (path: string, body: string): void => {
    const into: unknown[] = path === '/v1/traces' ? traces : path === '/v1/metrics' ? metrics : logs;
    into.push(JSON.parse(body));
  };
  const keepTruth = eventsInto(events);
  const keepEvents: LocalParts['keepEvents'] = (service, stored, sinceMs) => {
    keepHistory?.(service, stored);
    keepTruth(service, stored, sinceMs);
  };
  // A short path, because the sockets of its servers are in it.
  const folder = mkdtempSync(join(tmpdir(), 'interlock-d-'));
  const [processor] = cpus();
  return {
    target: ownCloudTarget(folder, { id, say, keepEvents, takeTelemetry }),
    telemetry: () => ({ traces, metrics, logs }),
    events,
    hardware: {
      processor: processor?.model ?? 'unknown',
      cores: cpus().length,
      'memory GiB': Math.round(totalmem() / 2 ** 30),
      system: `${osType()} ${release()}`,
    },
  };
};
