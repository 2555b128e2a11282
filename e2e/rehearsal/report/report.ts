import { type Quantiles, quantilesOf } from '@interlock/lab/report/quantiles';
import type { Span } from '@interlock/lab/spans/span-store';
import type { Gathered, LossSeen } from '../evidence/evidence.ts';
import type { DiskProof, TimedLoss } from '../evidence/timed.ts';
import type { Verdict } from '../rules/rule.ts';

/** `report.json`, described in docs/report.md. Grows by addition; `schema` changes when a field changes its meaning. */
export interface Report {
  readonly schema: 1;
  readonly scenario: string;
  /** ISO 8601, like every time in here. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly verdict: 'pass' | 'fail';
  readonly rules: readonly Verdict[];
  readonly revocations: readonly Revocation[];
  readonly stopwatch: readonly Timed[];
  /** Over the machines of every timed cause, which are enough for a p95. Null if none was timed. */
  readonly stopwatchTotal: Omit<Timed, 'cause' | 'reason'> | null;
  /** When the first machine ran; null if none did. */
  readonly firstMachineRanAt: string | null;
  readonly dataReturned: {
    readonly disks: number;
    readonly bytesCompared: number;
    readonly mismatches: number;
    /** For each disk whose file was opened. */
    readonly proof: readonly DiskProof[];
    /** The other disks, by full name: their mark was read back through the API. */
    readonly throughApi: readonly string[];
  };
  readonly traces: readonly TraceSummary[];
  /** Versions of the involved parts. */
  readonly versions: Readonly<Record<string, string>>;
  /** Problems during the rehearsal, as texts; empty if there were none. */
  readonly problems: readonly string[];
}

/** One loss of access, and its effect on the running machines. */
export interface Revocation {
  /** `KEY_DISABLED`, `KEY_DELETED` or `ACCESS_DENIED`. */
  readonly cause: string;
  /** Full name. */
  readonly keyVersion: string;
  readonly committedAt: string;
  readonly machines: readonly RevokedMachine[];
  /** Over the machines that stopped; null if none did. */
  readonly toStoppedMs: Pick<Quantiles, 'p50' | 'p95' | 'max'> | null;
}

/** How long one way to lose a key took, over the machines that it affected. */
export interface Timed {
  /** Name of the cause in the truth table. */
  readonly cause: string;
  readonly reason: string;
  readonly machines: number;
  /** From the loss to the last read or write that succeeded; negative: before the loss. */
  readonly toLastGoodIoMs: Quantiles;
  readonly toStoppedMs: Quantiles;
  /** From the start of the restore until the guest runs. */
  readonly toRunningMs: Quantiles;
}

export interface RevokedMachine {
  readonly name: string;
  /** Classes of its disks under the lost key; empty if it had none. */
  readonly diskClasses: readonly string[];
  readonly stopped: boolean;
  /** Since the loss was committed; null when it did not stop. */
  readonly stoppedAfterMs: number | null;
  /** Last successful read or write on a disk under the lost key; negative before the loss; null if there is no such disk. */
  readonly lastGoodIoAfterMs: number | null;
  /** Why the platform stopped it; empty when it did not. */
  readonly reason: string;
}

export interface TraceSummary {
  /** The subject of the trace. */
  readonly of: string;
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  readonly spans: number;
  readonly services: readonly string[];
}

/** Builds the report. Pure. */
export const buildReport = (parts: {
  readonly scenario: string;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly verdicts: readonly Verdict[];
  readonly evidence: Gathered;
  readonly traces: readonly { readonly of: string; readonly traceId: string; readonly spans: readonly Span[] }[];
  readonly versions: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
}): Report => {
  const { scenario, startedAtMs, durationMs, verdicts, evidence, traces, versions, problems } = parts;
  const { disks, bytesCompared, mismatches, perDisk, throughApi } = evidence.content ?? nothingCompared;
  const isGood = problems.length === 0 && verdicts.every(({ verdict }) => verdict === 'pass');
  return {
    schema: 1,
    scenario,
    startedAt: new Date(startedAtMs).toISOString(),
    durationMs: Math.round(durationMs),
    verdict: isGood ? 'pass' : 'fail',
    rules: verdicts,
    revocations: lossesOf(evidence).map(revocationOf),
    stopwatch: (evidence.timed ?? []).map(timedOf),
    stopwatchTotal: totalOf(evidence.timed ?? []),
    firstMachineRanAt: firstOf(evidence),
    dataReturned: { disks, bytesCompared, mismatches, proof: perDisk, throughApi },
    traces: traces.map(({ of, traceId, spans }) => ({
      of,
      traceId,
      spans: spans.length,
      services: [...new Set(spans.map(({ service }) => service))],
    })),
    versions,
    problems,
  };
};

const nothingCompared = { disks: 0, bytesCompared: 0, mismatches: 0, perDisk: [], throughApi: [] };

const timedOf = ({ cause, reason, machines }: TimedLoss): Timed => ({ cause, reason, ...timesOf(machines) });

function totalOf(timed: readonly TimedLoss[]): Report['stopwatchTotal'] {
  const machines = timed.flatMap((loss) => loss.machines);
  return machines.length === 0 ? null : timesOf(machines);
}

function firstOf({ machines = [] }: Gathered): string | null {
  const times = machines.map(({ startTime }) => startTime).filter((time) => time > 0);
  return times.length === 0 ? null : new Date(Math.min(...times)).toISOString();
}

function timesOf(machines: TimedLoss['machines']): Omit<Timed, 'cause' | 'reason'> {
  return {
    machines: machines.length,
    toLastGoodIoMs: quantilesOf(machines.map(({ lastGoodIoAfterMs }) => lastGoodIoAfterMs)),
    toStoppedMs: quantilesOf(machines.map(({ stoppedAfterMs }) => stoppedAfterMs)),
    toRunningMs: quantilesOf(machines.map(({ runningAfterMs }) => runningAfterMs)),
  };
}

/** The observed losses, in their order. */
export const lossesOf = ({ disabled, deleted, withdrawn }: Gathered): readonly LossSeen[] =>
  [disabled, deleted, withdrawn].filter((loss) => loss !== undefined);

function revocationOf({ cause, keyVersion, committedAt, machines }: LossSeen): Revocation {
  const after = (at: number | undefined): number | null => (at === undefined ? null : round(at - committedAt));
  const revoked = machines.map(({ name, classes, power, reason, stoppedAt, lastGoodIoAt }) => {
    const stopped = power === 'STOPPED';
    return {
      name,
      diskClasses: classes,
      stopped,
      stoppedAfterMs: stopped ? after(stoppedAt) : null,
      lastGoodIoAfterMs: classes.length === 0 ? null : after(lastGoodIoAt),
      reason,
    };
  });
  const latencies = revoked.flatMap(({ stoppedAfterMs }) => stoppedAfterMs ?? []);
  const { p50, p95, max } = quantilesOf(latencies);
  return {
    cause,
    keyVersion,
    committedAt: new Date(committedAt).toISOString(),
    machines: revoked,
    toStoppedMs: latencies.length === 0 ? null : { p50, p95, max },
  };
}

const round = (ms: number): number => Math.round(ms * 10) / 10;
