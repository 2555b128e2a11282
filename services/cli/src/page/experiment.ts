import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { RunState } from '@interlock/lab/progress/run-state';
import { readRunState } from '@interlock/lab/progress/state-file';
import { processStart } from '@interlock/local/lock.mjs';
import { visibleInLine } from '@interlock/runtime';
import type { Answer } from './door.ts';

/** The newest experiment on the cloud of the page. */
export interface PageExperiment {
  /** Undefined: no experiment ran there, or its state cannot be read. */
  readonly run?: Omit<RunState, 'runner'>;
  /** Whether its runner exists; of a run that is over it does not matter. */
  readonly isAlive: boolean;
  /** Path of its report; empty without one. */
  readonly report: string;
  /** Why the state cannot be read; empty otherwise. */
  readonly problem: string;
}

/** The newest experiment, as JSON of `PageExperiment`. @param data folder of a local cloud @returns undefined for another path */
export const experimentAnswer = (path: string, data: string | undefined): Answer | undefined =>
  path === 'experiment'
    ? { type: 'application/json', body: JSON.stringify(data === undefined ? none : experimentIn(data)) }
    : undefined;

const none: PageExperiment = { isAlive: false, report: '', problem: '' };

const experimentIn = (data: string): PageExperiment => {
  try {
    const state = readRunState(data);
    if (state === undefined) return none;
    const { runner, ...run } = state;
    const report = join(run.folder, 'report.html');
    return {
      run,
      isAlive: run.phase !== 'ended' && processStart(runner.pid) === runner.startedAt,
      report: run.phase === 'ended' && existsSync(report) ? report : '',
      problem: '',
    };
  } catch (error) {
    // Whatever the file holds: the page shows the cloud.
    return { ...none, problem: visibleInLine(error instanceof Error ? error.message : String(error)) };
  }
};
