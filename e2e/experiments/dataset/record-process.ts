import { join } from 'node:path';
import { writeRun } from '@interlock/lab/dataset';
import { takeOrders } from '../../simulation/runs/take-orders.ts';
import { recordRun } from './record-run.ts';
import { asStudied, playedBy, type RecordedRun, type RecordTask } from './record-task.ts';

const signal = new AbortController().signal;

takeOrders(async (seed, task: RecordTask): Promise<RecordedRun> => {
  const id = `simulated-${seed}`;
  const say = () => undefined;
  const whole = await recordRun({ ...playedBy(task, seed), seed, id, target: 'simulated', signal, say });
  const data = asStudied(task, seed, whole);
  return { path: id, seed, sha256: writeRun(join(task.out, id), data), outcome: data.facts.outcome };
});
