import assert from 'node:assert/strict';
import {
  type Experiment,
  problemLines,
  type RunRecord,
  readExperiment,
  runExperiment,
  type Target,
} from '@interlock/lab';
import { simulatedTarget } from './target.ts';

/** An experiment on three machines: under k1, with an ultra disk under k1, and under another key. @param timeline YAML, one step each @param diskHosts of the estate; absent: none of their own */
export const experimentOf = (
  timeline: readonly string[],
  more = '',
  settings = '{ leaseTtl: 4s, authzTtl: 1s }',
  diskHosts?: number,
): Experiment => {
  const text = `title: a test
settings: ${settings}
estate:${diskHosts === undefined ? '' : `\n  diskHosts: ${diskHosts}`}
  premium: { machines: 1, disks: [premium-ssd], key: k1 }
  ultra: { machines: 1, disks: [standard-ssd: platform, ultra], key: k1 }
  second: { machines: 1, disks: [premium-ssd, standard-ssd], key: k2 }
steady: [{ services: ready }, { leases: held }, { io: premium, gap: 1s }]
timeline:
${timeline.map((step) => `  - { ${step} }`).join('\n')}
expect:
  - bytesLost == 0
${more}`;
  const read = readExperiment(text);
  if ('problems' in read) assert.fail(problemLines('test', read.problems).join('\n'));
  return read.experiment;
};

/** Runs an experiment in the simulation. */
export const runSimulated = (
  experiment: Experiment,
  seed = 3,
  target: Target = simulatedTarget(seed),
): Promise<RunRecord> => {
  assert.deepEqual(target.refuse(experiment), []);
  return runExperiment({
    experiment,
    target,
    id: `simulated-${seed}`,
    journal: { append: () => undefined },
    signal: new AbortController().signal,
    say: () => undefined,
  });
};

/** Guarantees and rules that did not hold. */
export const brokenIn = ({ guarantees }: RunRecord) => guarantees.filter(({ holds }) => !holds);

/** The machine of a group with one machine. */
export const machineOf = ({ machines }: RunRecord, group: string) => {
  const found = machines.find((one) => one.group === group);
  assert.ok(found, `a machine of ${group}`);
  return found;
};
