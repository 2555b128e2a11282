import { join } from 'node:path';
import type { Experiment } from '@interlock/lab';
import { writeRun } from '@interlock/lab/dataset';
import { takeOrders } from '../../simulation/runs/take-orders.ts';
import { recordRun } from './record-run.ts';

/** What all recording processes share. */
export interface RecordTask {
  readonly experiment: Experiment;
  readonly text: string;
  /** Folder of the collection. */
  readonly out: string;
}

/** A run that was recorded. */
export interface RecordedRun {
  /** The folder, relative to that of the collection. */
  readonly path: string;
  readonly seed: number;
  /** Of its manifest. */
  readonly sha256: string;
  readonly outcome: string;
}

const signal = new AbortController().signal;

takeOrders(async (seed, { experiment, text, out }: RecordTask): Promise<RecordedRun> => {
  const id = `simulated-${seed}`;
  const say = () => undefined;
  const data = await recordRun({ experiment, text, seed, id, target: 'simulated', signal, say });
  return { path: id, seed, sha256: writeRun(join(out, id), data), outcome: data.facts.outcome };
});
