import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonObject } from '@bufbuild/protobuf';
import {
  EvidenceError,
  evidenceFiles,
  exitCodes,
  experimentTextOf,
  problemLines,
  type ReadExperiment,
  type RunSummary,
  readEvidence,
  readExperiment,
  readMatrix,
  requirePublicKey,
  summaryOfRun,
  verdictLines,
  verdictOfRun,
} from '@interlock/lab';
import { judgedAgain } from '@interlock/lab/judge/recording/raw-record';
import { visibleInLine } from '@interlock/runtime';
import { aligned } from '../output/align.ts';
import { ExitCode, UsageError } from '../problems.ts';
import type { OfflineParts } from './runner.ts';

/** Checks files and shows what is wrong with each. @returns 0 if all are valid, otherwise 2 @throws UsageError for an unreadable file */
export function validateFiles(files: readonly string[], { terminal }: OfflineParts): number {
  let code: number = ExitCode.ok;
  for (const file of files) {
    const read = readFrom(file, terminal);
    if ('problems' in read) {
      code = ExitCode.usage;
      for (const line of problemLines(file, read.problems)) terminal.err(line);
    } else {
      const { timeline, expect, title } = read.experiment;
      terminal.out(`${file}: valid (${visibleInLine(title)}; ${timeline.length} steps, ${expect.length} expectations)`);
    }
  }
  return code;
}

/** Reads an experiment, with the estate file that it names. @throws UsageError if it cannot be read */
export function readFrom(file: string, { readFile }: OfflineParts['terminal']): ReadExperiment {
  const textOf = (path: string): string => Buffer.from(readFile(path)).toString('utf8');
  const whole = experimentTextOf(file, textOf);
  if ('problems' in whole) return whole;
  const read = readExperiment(whole.text);
  const matrix = 'problems' in read ? undefined : readMatrix(whole.text);
  return matrix !== undefined && 'problems' in matrix ? matrix : read;
}

/** The key of `--verify`. @throws UsageError unless it is a public key in PEM */
function publicKeyIn(path: string, { readFile }: OfflineParts['terminal']): Buffer {
  const pem = Buffer.from(readFile(path));
  try {
    requirePublicKey(pem);
    return pem;
  } catch (error) {
    throw new UsageError(`--verify ${path}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** Judges the evidence of a run again. @param publicKey file of the key that must have signed it @returns the exit code of its outcome @throws UsageError if the folder holds no whole run */
export function judgeFolder(folder: string, { terminal, output }: OfflineParts, publicKey?: string): number {
  try {
    const { text, record } = readEvidence(
      folder,
      publicKey === undefined ? undefined : publicKeyIn(publicKey, terminal),
    );
    const read = readExperiment(text);
    if ('problems' in read) throw new UsageError(problemLines(folder, read.problems).join('\n'));
    const verdict = verdictOfRun(read.experiment, judgedAgain(record));
    if (output.isDocument) output.write(JSON.parse(JSON.stringify(verdict)));
    else terminal.out(verdictLines(verdict).join('\n'));
    return exitCodes[verdict.outcome];
  } catch (error) {
    if (error instanceof EvidenceError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Shows the runs below a folder, the newest first, with their recorded outcome, and which of them were changed since. */
export function listRuns(folder: string, { terminal, output }: OfflineParts): void {
  const runs = (existsSync(folder) ? readdirSync(folder) : [])
    .map((name) => join(folder, name))
    .filter((run) => [evidenceFiles.experiment, evidenceFiles.manifest].some((name) => existsSync(join(run, name))))
    .map(runIn)
    .toSorted((one, other) => other.started.localeCompare(one.started));
  const rows = runs.map(({ outcome, started, title, folder: run }) => [outcome, started, title, run]);
  const changed = runs.flatMap(({ changes, folder: run }) => changes.map((change) => `changed: ${run}: ${change}`));
  if (output.isDocument) output.write({ runs: runs.map((run): JsonObject => ({ ...run, changes: [...run.changes] })) });
  else if (runs.length === 0) terminal.out(`no run is kept in ${folder}`);
  else terminal.out(aligned([['OUTCOME', 'STARTED', 'TITLE', 'FOLDER'], ...rows]));
  for (const line of output.isDocument ? [] : changed) terminal.out(line);
}

interface ListedRun {
  readonly folder: string;
  /** Empty if it cannot be read. */
  readonly title: string;
  /**
   * As recorded. `not ended` if the runner was ended before it wrote a verdict, `damaged` if the verdict cannot be read. See `changes` for
   * `changed, was held` (the evidence) and `not proved, says held` (the verdict).
   */
  readonly outcome: string;
  /** Files that are missing, damaged or were changed since the run. */
  readonly changes: readonly string[];
  /** RFC 3339; empty if the timeline never started. */
  readonly started: string;
}

function runIn(folder: string): ListedRun {
  const { title, outcome, changes, verdictChanges, startedMs } = summaryOfRun(folder);
  return {
    folder,
    title,
    outcome: listedOutcome(outcome, changes.length > 0, verdictChanges.length > 0),
    changes: [...changes, ...verdictChanges],
    started: startedMs === undefined ? '' : new Date(startedMs).toISOString(),
  };
}

const listedOutcome = (outcome: RunSummary['outcome'], isChanged: boolean, isUnproved: boolean): string => {
  if (outcome === 'damaged' || outcome === 'not ended') return outcome;
  if (isChanged) return `changed, was ${outcome}`;
  return isUnproved ? `not proved, says ${outcome}` : outcome;
};
