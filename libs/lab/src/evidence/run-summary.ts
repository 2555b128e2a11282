import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readExperiment } from '../file/read-experiment.ts';
import { exitCodes, type Outcome } from '../verdict.ts';
import {
  changesIn,
  EvidenceError,
  evidenceFiles,
  readExperimentText,
  readJson,
  verdictChangesIn,
} from './evidence-folder.ts';

/** What the folder of a run shows without judging it again. */
export interface RunSummary {
  /** Empty if the experiment cannot be read. */
  readonly title: string;
  /** As recorded. `not ended`: the runner was ended before it wrote a verdict; `damaged`: the verdict cannot be read. */
  readonly outcome: Outcome | 'not ended' | 'damaged';
  /** Evidence that is missing, damaged or was changed since the run: the outcome does not hold for what is left. */
  readonly changes: readonly string[];
  /** Why the recorded outcome is not proved to be that of the run. */
  readonly verdictChanges: readonly string[];
  /** Milliseconds since the epoch; undefined if the timeline never started. */
  readonly startedMs?: number;
}

/** Most milliseconds since the epoch that a date can have (ECMAScript, "Time Values and Time Range"). */
const dateMsMax = 8.64e15;

/** Summarizes the evidence of a run. Damage is part of the summary, so that one damaged run hides no other. */
export function summaryOfRun(folder: string): RunSummary {
  const problems: string[] = [];
  /** What a file shows; what cannot be read is a problem, and named. */
  const orProblem = <Value>(read: () => Value): Value | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof EvidenceError)) throw error;
      problems.push(error.message);
      return undefined;
    }
  };
  const has = (name: string): boolean => existsSync(join(folder, name));
  const title = orProblem(() => titleOf(readExperimentText(folder))) ?? '';
  const startedMs = has(evidenceFiles.run) ? startIn(orProblem(() => readJson(folder, evidenceFiles.run))) : undefined;
  const started = startedMs === undefined ? {} : { startedMs };
  if (!(has(evidenceFiles.verdict) || has(evidenceFiles.manifest)))
    return { title, outcome: 'not ended', changes: problems, verdictChanges: [], ...started };
  const outcome = orProblem(() => outcomeIn(readJson(folder, evidenceFiles.verdict))) ?? 'damaged';
  const changes = orProblem(() => changesIn(folder)) ?? [];
  const verdictChanges = changes.length > 0 ? [] : (orProblem(() => verdictChangesIn(folder)) ?? []);
  return { title, outcome, changes: [...new Set([...problems, ...changes])], verdictChanges, ...started };
}

const titleOf = (text: string): string => {
  const read = readExperiment(text);
  return 'experiment' in read ? read.experiment.title : '';
};

const memberOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;

const startIn = (run: unknown): number | undefined => {
  const ms = memberOf(run, 'startedMs');
  return typeof ms === 'number' && Math.abs(ms) <= dateMsMax ? ms : undefined;
};

const outcomeIn = (verdict: unknown): Outcome => {
  const outcome = memberOf(verdict, 'outcome');
  if (typeof outcome === 'string' && Object.hasOwn(exitCodes, outcome)) return outcome as Outcome;
  throw new EvidenceError(
    `${evidenceFiles.verdict} is damaged: its outcome must be one of ${Object.keys(exitCodes).join(', ')} (got ${JSON.stringify(outcome)})`,
  );
};
