import type { Condition, Experiment } from '../experiment.ts';
import { isMet } from '../expressions/evaluate.ts';
import type { RunPhase, RunProgress } from '../progress/run-progress.ts';
import type { ContentRecord, RunFacts, RunRecord } from '../record.ts';
import type { Lab, Observed, Target } from '../target.ts';
import { watchAborts } from './abort-watch.ts';
import { Actor } from './actor.ts';
import { untilSteady } from './steady.ts';
import type { StepJournal } from './step-journal.ts';
import { injectionsOf, lingerMsOf, runTimeline } from './timeline.ts';

/** What a run needs. */
export interface RunParts {
  readonly experiment: Experiment;
  readonly target: Target;
  /** Id of the run, for its evidence. */
  readonly id: string;
  readonly journal: StepJournal;
  /** Ends the run early: everything is undone, and the run is inconclusive. */
  readonly signal: AbortSignal;
  /** Receives progress, line by line. */
  readonly say: (line: string) => void;
  /**
   * Receives a function that returns the progress of the run at any time. With it the lab is observed about once a second, also
   * without abort conditions.
   */
  readonly follow?: ((progress: () => RunProgress) => void) | undefined;
}

type OpenFacts = { -readonly [Field in keyof RunFacts]: RunFacts[Field] };

const nothingSeen: Observed = { machines: [], io: [], sightings: [], guarantees: [] };
const nothingCompared: ContentRecord = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };

/**
 * Runs an experiment: opens the lab, waits for the steady state, carries out the timeline, undoes outstanding steps, compares the
 * content of the disks, and reads the observations. A failure becomes a problem in the record, and steps are always undone.
 */
export const runExperiment = async (parts: RunParts): Promise<RunRecord> => {
  const { experiment, target, signal, say, id } = parts;
  const problems: string[] = [];
  const facts: OpenFacts = { id, target: target.name, seed: experiment.seed, problems, versions: {} };
  const noRecord: RunRecord = { run: facts, steps: [], ...nothingSeen, content: nothingCompared };
  parts.follow?.(() => ({ phase: 'set-up', record: noRecord, seenMs: undefined }));
  say('preparing the estate');
  const lab = await opened(parts, problems);
  if (lab === undefined) return noRecord;
  facts.versions = lab.versions;
  try {
    return await new Run(parts, lab, facts, problems).record();
  } finally {
    // A failure of the clean-up is only printed; the record is complete without it.
    await lab.close().catch((error: unknown) => say(`removing the estate failed: ${messageOf(error)}`));
    if (signal.aborted) say('the run was interrupted');
  }
};

const opened = async ({ target, experiment, signal }: RunParts, problems: string[]): Promise<Lab | undefined> => {
  try {
    return await target.open(experiment, signal);
  } catch (error) {
    problems.push(`the set-up failed: ${messageOf(error)}`);
    return undefined;
  }
};

/** One run in an open lab. */
class Run {
  readonly #parts: RunParts;
  readonly #lab: Lab;
  readonly #facts: OpenFacts;
  readonly #problems: string[];
  readonly #actor: Actor;
  #phase: RunPhase = 'steady state';
  #seen: Observed = nothingSeen;
  #seenMs: number | undefined;

  constructor(parts: RunParts, lab: Lab, facts: OpenFacts, problems: string[]) {
    this.#parts = parts;
    this.#lab = lab;
    this.#facts = facts;
    this.#problems = problems;
    const { journal, say } = parts;
    this.#actor = new Actor({ lab, journal, say, report: (problem) => problems.push(problem) });
    parts.follow?.(() => ({
      phase: this.#phase,
      record: this.#recordOf(this.#seen, nothingCompared),
      seenMs: this.#seenMs,
    }));
  }

  async record(): Promise<RunRecord> {
    const { experiment, say } = this.#parts;
    await this.#noting('', () => this.#inject());
    if (this.#facts.startedMs !== undefined) this.#facts.endedMs = this.#lab.clock.now();
    this.#phase = 'undo';
    say('undoing what is left');
    // Existing machines that ran before must run again.
    await this.#actor.undoAll(experiment.estate.kind === 'existing');
    const isUsable = this.#facts.startedMs !== undefined && !this.#parts.signal.aborted;
    this.#phase = 'content';
    if (isUsable) say('comparing the content of the disks');
    const content = isUsable
      ? await this.#noting('comparing the content failed: ', () => this.#lab.compareContent())
      : undefined;
    const seen = await this.#noting('reading what happened failed: ', () => this.#lab.observe());
    this.#phase = 'judgement';
    return this.#recordOf(seen ?? nothingSeen, content ?? nothingCompared);
  }

  /** From the steady state to the end of the timeline. */
  async #inject(): Promise<void> {
    const { experiment, signal, say } = this.#parts;
    const { timeline, abort } = experiment;
    const onSeen = (seen: Observed, atMs: number): void => {
      this.#seen = seen;
      this.#seenMs = atMs;
    };
    say('waiting for the steady state');
    await untilSteady(this.#lab, experiment.steady, signal);
    await this.#actor.plan(injectionsOf(experiment));
    if (signal.aborted) throw new Error('the run was interrupted');
    const { clock } = this.#lab;
    const startedMs = clock.now();
    this.#facts.startedMs = startedMs;
    this.#phase = 'timeline';
    say('steady; the timeline starts');
    const end = new AbortController();
    const interrupted = AbortSignal.any([signal, end.signal]);
    const isMetBy = (condition: Condition, seen: Observed): boolean =>
      isMet(condition, experiment, this.#recordOf(seen, nothingCompared));
    const isOver = new AbortController();
    const watch = watchAborts(this.#lab, abort, {
      isMet: isMetBy,
      signal: AbortSignal.any([signal, isOver.signal]),
      onSeen: this.#parts.follow && onSeen,
    });
    void watch.then((text) => text !== undefined && end.abort());
    try {
      await runTimeline(timeline, this.#actor, { clock, startedMs, signal: interrupted });
      await clock.sleep(lingerMsOf(experiment), interrupted);
    } finally {
      isOver.abort();
    }
    const abortedBy = await watch;
    if (abortedBy !== undefined) {
      this.#facts.abortedBy = abortedBy;
      say(`aborted: ${abortedBy}`);
    }
    if (signal.aborted) throw new Error('the run was interrupted');
  }

  #recordOf(seen: Observed, content: ContentRecord): RunRecord {
    return { run: this.#facts, steps: this.#actor.records, ...seen, content };
  }

  /** Reports a failure as a problem of the run. @returns undefined after a failure */
  async #noting<Result>(prefix: string, work: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#problems.push(`${prefix}${messageOf(error)}`);
      return undefined;
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
