import { type ExperimentReport, reportOf } from '@interlock/lab';
import type { DiskProof, Gathered } from './evidence/evidence.ts';
import type { ExperimentRun } from './experiments.ts';
import type { Verdict } from './rules/rule.ts';

/** `report.json`, described in docs/report.md. Grows by addition; `schema` changes when a field changes its meaning. */
export interface Report {
  readonly schema: 2;
  readonly scenario: string;
  /** ISO 8601, like every time in here. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly verdict: 'pass' | 'fail';
  readonly rules: readonly Verdict[];
  /** The runs of the experiment files, in their order. */
  readonly experiments: readonly ExperimentReport[];
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
  /** Versions of the involved parts. */
  readonly versions: Readonly<Record<string, string>>;
  /** Problems during the rehearsal, as texts; empty if there were none. */
  readonly problems: readonly string[];
}

/** Builds the report. Pure. It passes if every rule and every experiment held and no step failed. */
export const buildReport = (parts: {
  readonly scenario: string;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly verdicts: readonly Verdict[];
  readonly evidence: Gathered;
  readonly runs: readonly ExperimentRun[];
  readonly versions: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
}): Report => {
  const { scenario, startedAtMs, durationMs, verdicts, evidence, runs, versions, problems } = parts;
  const { disks, bytesCompared, mismatches, perDisk, throughApi } = evidence.content ?? nothingCompared;
  const isGood =
    problems.length === 0 &&
    verdicts.every(({ verdict }) => verdict === 'pass') &&
    runs.every(({ verdict }) => verdict.outcome === 'held');
  return {
    schema: 2,
    scenario,
    startedAt: new Date(startedAtMs).toISOString(),
    durationMs: Math.round(durationMs),
    verdict: isGood ? 'pass' : 'fail',
    rules: verdicts,
    experiments: runs.map(({ experiment, record, verdict }) => reportOf(experiment, record, verdict)),
    firstMachineRanAt: firstOf(evidence),
    dataReturned: { disks, bytesCompared, mismatches, proof: perDisk, throughApi },
    versions,
    problems,
  };
};

const nothingCompared = { disks: 0, bytesCompared: 0, mismatches: 0, perDisk: [], throughApi: [] };

const firstOf = ({ machines = [] }: Gathered): string | null => {
  const times = machines.map(({ startTime }) => startTime).filter((time) => time > 0);
  return times.length === 0 ? null : new Date(Math.min(...times)).toISOString();
};
