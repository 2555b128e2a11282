import {
  type Experiment,
  type RunProgress,
  type RunState,
  runStateOf,
  type Target,
  type Verdict,
  writeRunState,
} from '@interlock/lab';
import { systemClock } from '@interlock/runtime';

/** Time between two looks at the progress, in milliseconds. */
const lookMs = 500;
/** Looks take at most one part of so many of the time: a run with many operations is looked at more rarely. */
const restFactor = 9;

/** What a follower needs of a run. */
export interface FollowedRun {
  readonly experiment: Experiment;
  readonly id: string;
  readonly folder: string;
  readonly target: Pick<Target, 'name'>;
  /** The process of the run. */
  readonly runner: RunState['runner'];
  /** Data folder of the cloud. */
  readonly data: string;
  readonly say: (line: string) => void;
}

/** Writes the state of a run for the live page of its cloud. A failure ends that, is printed, and does not affect the run. */
export class RunFollower {
  readonly #run: FollowedRun;
  readonly #parts: Parameters<typeof runStateOf>[0];
  #progress: (() => RunProgress) | undefined;
  #written = '';
  #alarm: { readonly cancel: () => void } | undefined;

  constructor(run: FollowedRun) {
    this.#run = run;
    const { experiment, id, folder, target, runner } = run;
    this.#parts = { experiment, id, folder, target: target.name, runner, sinceMs: systemClock.now() };
  }

  /** Receives the progress of the run. */
  readonly follow = (progress: () => RunProgress): void => {
    this.#progress = progress;
    this.#alarm ??= systemClock.alarm(0, () => this.#look());
  };

  /** Writes the state after the end of the run. */
  end(verdict: Verdict): void {
    this.close();
    this.#write({ verdict, atMs: systemClock.now() });
  }

  /** Ends the looks at the progress. */
  close(): void {
    this.#alarm?.cancel();
  }

  #look(): void {
    const startMs = systemClock.monotonicMs();
    if (!this.#write()) return;
    const restMs = (systemClock.monotonicMs() - startMs) * restFactor;
    this.#alarm = systemClock.alarm(lookMs + restMs, () => this.#look());
  }

  /** @returns whether that did not fail */
  #write(ended?: Parameters<typeof runStateOf>[2]): boolean {
    if (this.#progress === undefined) return true;
    try {
      const state = runStateOf(this.#parts, this.#progress(), ended);
      const text = JSON.stringify(state);
      if (text !== this.#written) writeRunState(this.#run.data, state);
      this.#written = text;
      return true;
    } catch (error) {
      this.#run.say(`the live page does not show this run: ${error instanceof Error ? error.message : error}`);
      return false;
    }
  }
}
