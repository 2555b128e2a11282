import { type ExperimentReport, reportOf } from '@interlock/lab';
import type { ExperimentRun } from './experiments.ts';
import type { RuleVerdict } from './findings.ts';

/** `report.json`, described in docs/report.md. Grows by addition; `schema` changes when a field changes its meaning. */
export interface Report {
  readonly schema: 2;
  readonly scenario: string;
  /** ISO 8601, like every time in here. */
  readonly startedAt: string;
  readonly durationMs: number;
  readonly verdict: 'pass' | 'fail';
  readonly rules: readonly RuleVerdict[];
  /** The runs of the experiment files, in their order. */
  readonly experiments: readonly ExperimentReport[];
  /** When the first machine ran; null if none did. */
  readonly firstMachineRanAt: string | null;
  readonly dataReturned: DataReturned;
  /** Versions of the involved parts. */
  readonly versions: Readonly<Record<string, string>>;
  /** Problems during the rehearsal, as texts; empty if there were none. */
  readonly problems: readonly string[];
}

/** What was compared at the end. */
export interface DataReturned {
  /** Disks whose content was compared: those of `proof` and of `throughApi`. */
  readonly disks: number;
  readonly bytesCompared: number;
  /** Sectors or marks that differed from what was acknowledged. */
  readonly mismatches: number;
  /** For each disk whose file was opened. */
  readonly proof: readonly DiskProof[];
  /** The other disks, by full name: their mark was read back through the API. */
  readonly throughApi: readonly string[];
}

/** Every acknowledged byte of a disk, compared with its file. */
export interface DiskProof {
  /** Full name. */
  readonly disk: string;
  /** Unique name of the disk host that has it, `disk-0`. */
  readonly diskHost: string;
  readonly bytes: number;
  /** SHA-256, in hexadecimal, of what was acknowledged, in the order of the disk. */
  readonly acknowledged: string;
  /** The same for what was found. */
  readonly found: string;
}

/** What became of a rehearsal. */
export interface Played {
  /** As texts; empty if there were none. */
  readonly problems: readonly string[];
  readonly runs: readonly ExperimentRun[];
  /** When the first machine ran, in milliseconds since the epoch; undefined if none did. */
  readonly firstMachineRanAtMs: number | undefined;
  /** What was compared at the end; undefined if the rehearsal did not come so far. */
  readonly dataReturned: DataReturned | undefined;
}

/** Builds the report. Pure. It passes if every rule and every experiment held and no step failed. */
export const buildReport = (parts: {
  readonly scenario: string;
  readonly startedAtMs: number;
  readonly durationMs: number;
  readonly verdicts: readonly RuleVerdict[];
  readonly played: Played;
  readonly versions: Readonly<Record<string, string>>;
}): Report => {
  const { scenario, startedAtMs, durationMs, verdicts, versions } = parts;
  const { problems, runs, firstMachineRanAtMs: ranAtMs, dataReturned = nothingCompared } = parts.played;
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
    firstMachineRanAt: ranAtMs === undefined ? null : new Date(ranAtMs).toISOString(),
    dataReturned,
    versions,
    problems,
  };
};

const nothingCompared: DataReturned = { disks: 0, bytesCompared: 0, mismatches: 0, proof: [], throughApi: [] };
