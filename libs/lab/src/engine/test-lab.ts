import { type VirtualClock, virtualClock } from '@interlock/runtime';
import type { Experiment, Step } from '../experiment.ts';
import type { RunProgress } from '../progress/run-progress.ts';
import type { RunRecord } from '../record.ts';
import type { Lab, Target, Undo } from '../target.ts';
import { runExperiment } from './run-experiment.ts';
import type { JournalLine } from './step-journal.ts';

/** Changes of a test lab. By default everything succeeds at once. */
export interface LabChange {
  readonly carryOut?: (step: Step, clock: VirtualClock) => Promise<void>;
  readonly undo?: (undo: Undo, clock: VirtualClock) => Promise<void>;
  readonly lab?: Partial<Lab>;
  readonly openError?: Error;
  /** Called with each line before it is stored. */
  readonly append?: (line: JournalLine) => void;
  readonly signal?: AbortSignal;
  /** Receives the progress of the run, and the clock. */
  readonly follow?: (progress: () => RunProgress, clock: VirtualClock) => void;
}

/** A run on a test lab, with the calls that the lab received. */
export interface TestRun {
  readonly record: RunRecord;
  /** Calls of the lab in their order, with milliseconds since the start of the clock: `250 carryOut kill nats`. */
  readonly calls: readonly string[];
  readonly lines: readonly JournalLine[];
  /** Steps that were carried out and not undone. */
  readonly taken: ReadonlySet<string>;
}

/** A step for tests. */
export const step = (name: string, atMs: number, change: Partial<Step> = {}): Step => ({
  name,
  atMs,
  action: 'kill',
  targets: ['nats'],
  options: {},
  line: 1,
  ...change,
});

/** A `give-back` for tests. */
export const giveBack = (of: string, atMs: number, start = false): Step =>
  step(`give back ${of}`, atMs, { action: 'give-back', targets: [of], options: { start } });

/** An experiment for tests. */
export const experimentOf = (timeline: readonly Step[], change: Partial<Experiment> = {}): Experiment => ({
  title: 'test',
  seed: 1,
  settings: {},
  settingLines: {},
  estate: { kind: 'planned', groups: [] },
  steady: [],
  timeline,
  proof: [],
  abort: [],
  expect: [],
  ...change,
});

/** Runs an experiment in virtual time on a lab that only records its calls. */
export const runOnTestLab = async (experiment: Experiment, change: LabChange = {}): Promise<TestRun> => {
  const clock = virtualClock(0);
  const calls: string[] = [];
  const lines: JournalLine[] = [];
  const taken = new Set<string>();
  const note = (what: string): void => void calls.push(`${clock.now()} ${what}`);
  const lab: Lab = {
    clock,
    versions: { interlock: 'test' },
    async plan({ name, action }) {
      note(`plan ${name}`);
      return { step: name, action, data: { was: 'here' } };
    },
    async carryOut(one) {
      note(`carryOut ${one.name}`);
      taken.add(one.name);
      await change.carryOut?.(one, clock);
      return { effectMs: clock.now() };
    },
    async undo(undo, start) {
      note(`undo ${undo.step}${start ? ' and start' : ''}`);
      await change.undo?.(undo, clock);
      taken.delete(undo.step);
      return {};
    },
    check: async () => undefined,
    observe: async () => ({ machines: [], io: [], sightings: [], guarantees: [] }),
    async compareContent() {
      note('compareContent');
      return { disksCompared: 1, bytesCompared: 4_096, bytesLost: 0 };
    },
    async close() {
      note('close');
    },
    ...change.lab,
  };
  const target: Target = {
    name: 'simulated',
    refuse: () => [],
    open: async () => (change.openError === undefined ? lab : Promise.reject(change.openError)),
  };
  const run = runExperiment({
    experiment,
    target,
    id: 'test',
    journal: {
      append(line) {
        change.append?.(line);
        note(`${line.kind} ${line.step}`);
        lines.push(line);
      },
    },
    signal: change.signal ?? new AbortController().signal,
    say: () => undefined,
    ...(change.follow && { follow: (progress) => change.follow?.(progress, clock) }),
  });
  return { record: await clock.drive(run), calls, lines, taken };
};
