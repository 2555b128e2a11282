import { readBuild } from '@interlock/host';
import {
  beginEvidence,
  chaosToolkitJournal,
  type Experiment,
  evidenceFiles,
  historyLines,
  junitXml,
  put,
  type RunRecord,
  readEvidence,
  reportJson,
  runExperiment,
  sealEvidence,
  type Target,
  type Verdict,
  verdictOfRun,
  writeEvidence,
} from '@interlock/lab';
import { judgedAgain } from '@interlock/lab/judge/recording/raw-record';
import { keptSpans } from '@interlock/lab/report/experiment/kept-spans';
import { reportPage } from '@interlock/lab/report/experiment/report-page';
import type { SpanStore } from '@interlock/lab/spans/span-store';
import { processStart } from '@interlock/local/lock.mjs';
import type { ClusterPlace } from '../../deploy/kubernetes/kubectl.ts';
import { RunFollower } from './run-follower.ts';

/** Where a run can be recovered: what `recover` needs, in `place.json`. */
export interface RunPlace {
  readonly target: Target['name'];
  /** Folder of the cloud: its own, or the existing one. */
  readonly data?: string;
  /** The cluster, of the target kubernetes. */
  readonly cluster?: ClusterPlace;
  /** The process of the runner: a run can be recovered only when it has ended. Absent in the simulation, which leaves nothing. */
  readonly runner?: { readonly pid: number; readonly startedAt: string };
}

/** This process as the runner of what it starts. */
export const thisRunner = (): NonNullable<RunPlace['runner']> => ({
  pid: process.pid,
  startedAt: processStart(process.pid) ?? '',
});

/** One run of an experiment file. */
export interface FileRun {
  readonly experiment: Experiment;
  /** The file as it is run. */
  readonly text: string;
  readonly id: string;
  /** For the evidence; new or empty. */
  readonly folder: string;
  readonly place: RunPlace;
  readonly target: Target;
  /** Data folder of the cloud whose live page shows the run; absent: no page does. */
  readonly shownIn?: string;
  /** The store of the cloud's spans; undefined if this process does not receive them. */
  readonly spans?: () => Pick<SpanStore, 'spansOfTrace'> | undefined;
  /** Private key in PEM, Ed25519, that signs the manifest of the evidence. */
  readonly signWith?: string | Buffer;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** The result of a run. */
export interface FileRunResult {
  readonly record: RunRecord;
  readonly verdict: Verdict;
}

/** Runs it, and leaves evidence, verdict and report in its folder. @throws EvidenceError if the folder is in use */
export const runFile = async (run: FileRun): Promise<FileRunResult> => {
  const { experiment, text, id, folder, place, target, signal, say } = run;
  const journal = beginEvidence(folder, text, place);
  const runner = place.runner ?? thisRunner();
  const follower = run.shownIn === undefined ? undefined : new RunFollower({ ...run, runner, data: run.shownIn });
  try {
    const record = await runExperiment({ experiment, target, id, journal, signal, say, follow: follower?.follow });
    const result = keep(run, record);
    follower?.end(result.verdict);
    return result;
  } finally {
    follower?.close();
  }
};

/** Writes evidence, verdict and reports. */
const keep = (run: FileRun, record: RunRecord): FileRunResult => {
  const { experiment, id, folder, target } = run;
  writeEvidence(folder, record);
  const store = run.spans?.();
  if (store !== undefined) put(folder, evidenceFiles.spans, spanLines(record, store));
  const { version, revision: commit } = readBuild();
  const seal = () =>
    sealEvidence(folder, { target: target.name, run: id, interlock: { version, commit } }, run.signWith);
  seal();
  // The same way as `experiment judge`: what is not in the evidence does not count.
  const judged = judgedAgain(readEvidence(folder).record);
  const verdict = writeVerdict(folder, experiment, judged);
  // Again, because the manifest covers the verdict too.
  seal();
  return { record: judged, verdict };
};

const attemptsMax = 3;

/**
 * Runs until a run proves something, at most 3 times: on a busy machine, steps and restarts can come too late for what is tested. A run
 * that violates a rule is never repeated.
 * @param runOnce carries out the run of that number, from 1
 */
export const runUntilProof = async (
  { say, signal }: Pick<FileRun, 'say' | 'signal'>,
  runOnce: (attempt: number) => Promise<FileRunResult>,
): Promise<FileRunResult> => {
  for (let attempt = 1; ; attempt += 1) {
    const result = await runOnce(attempt);
    const { outcome, because } = result.verdict;
    if (outcome === 'held' || outcome === 'violated' || attempt === attemptsMax || signal.aborted) return result;
    say(`attempt ${attempt} of ${attemptsMax} proves nothing: ${because}`);
  }
};

/** Most spans kept of one trace: a loss of many machines makes thousands, and the first ones show how it spread. */
const spansOfTraceMax = 500;

const spanLines = ({ steps }: RunRecord, store: Pick<SpanStore, 'spansOfTrace'>): string => {
  const traces = new Set(steps.flatMap(({ traceId }) => (traceId === undefined ? [] : [traceId])));
  const spans = [...traces].flatMap((traceId) => store.spansOfTrace(traceId).slice(0, spansOfTraceMax));
  return spans.map((span) => `${JSON.stringify(span)}\n`).join('');
};

/** Judges a record and writes the verdict and its reports. */
export const writeVerdict = (folder: string, experiment: Experiment, record: RunRecord): Verdict => {
  const verdict = verdictOfRun(experiment, record);
  put(folder, evidenceFiles.verdict, `${JSON.stringify(verdict, undefined, 2)}\n`);
  put(folder, 'report.html', reportPage(experiment, record, verdict, keptSpans(folder)));
  put(folder, 'report.json', reportJson(experiment, record, verdict));
  put(folder, 'junit.xml', junitXml(experiment, record, verdict));
  put(folder, 'journal.json', chaosToolkitJournal(experiment, record, verdict));
  put(folder, 'history.jsonl', `${historyLines(record).join('\n')}\n`);
  return verdict;
};
