import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import {
  type Experiment,
  type Lab,
  type Observed,
  readExperiment,
  runExperiment,
  type Target,
  type Verdict,
  verdictOfRun,
} from '@interlock/lab';
import { simulatedTarget } from './simulated/target.ts';

const text = readFileSync(new URL('files/friday-17-00.experiment.yaml', import.meta.url), 'utf8');
const experimentOf = (file: string): Experiment => {
  const read = readExperiment(file);
  assert.ok('experiment' in read);
  return read.experiment;
};
const example = experimentOf(text);
/** The example with shorter times. */
const short = experimentOf(
  [
    ['for: 45s', 'for: 10s'],
    ['for: 20s', 'for: 6s'],
    ['at: 60s', 'at: 14s'],
    ['within: 25s', 'within: 10s'],
  ].reduce((file, [from = '', to = '']) => file.replace(from, to), text),
);

/** Runs an experiment in the simulation. @param spoil replaces parts of the lab with defective ones */
const verdictOf = async (spoil: (lab: Lab) => Partial<Lab> = () => ({}), experiment = example): Promise<Verdict> => {
  const simulated = simulatedTarget(experiment.seed);
  const target: Target = {
    ...simulated,
    async open(file, signal) {
      const lab = await simulated.open(file, signal);
      const own: Lab = {
        clock: lab.clock,
        versions: lab.versions,
        plan: (step) => lab.plan(step),
        carryOut: (step, undo) => lab.carryOut(step, undo),
        undo: (undo, start) => lab.undo(undo, start),
        check: (check) => lab.check(check),
        observe: () => lab.observe(),
        compareContent: () => lab.compareContent(),
        close: () => lab.close(),
      };
      return { ...own, ...spoil(own) };
    },
  };
  const record = await runExperiment({
    experiment,
    target,
    id: 'test',
    journal: { append: () => undefined },
    signal: new AbortController().signal,
    say: () => undefined,
  });
  return verdictOfRun(experiment, record);
};

const observing =
  (change: (seen: Observed, looks: number) => Partial<Observed>): ((lab: Lab) => Partial<Lab>) =>
  (lab) => {
    let looks = 0;
    return {
      observe: async () => {
        const seen = await lab.observe();
        looks += 1;
        return { ...seen, ...change(seen, looks) };
      },
    };
  };

test('CMK-100: the example of the how-to page holds in the simulation', async () => {
  const verdict = await verdictOf();
  assert.equal(verdict.outcome, 'held', verdict.because);
  assert.deepEqual(verdict.problems, []);
});

test('G1, G2: without events, a disabled key stops machines within the lease, in the simulation', async () => {
  const file = readFileSync(new URL('files/no-events.experiment.yaml', import.meta.url), 'utf8');
  const verdict = await verdictOf(undefined, experimentOf(file));
  assert.equal(verdict.outcome, 'held', verdict.because);
});

test('pausing a vault disturbs a control group under another of its keys, and the run is aborted', async () => {
  const verdict = await verdictOf(undefined, experimentOf(text.replace(/(control:.*)key: platform/, '$1key: other')));
  assert.equal(verdict.outcome, 'aborted', verdict.because);
});

/** Defects that the lab does not report itself, and what the verdict must say. */
const defects: readonly (readonly [string, (lab: Lab) => Partial<Lab>, RegExp])[] = [
  [
    'the lab reports a fault that it did not inject',
    (lab) => ({
      carryOut: async (step, undo) =>
        step.name === 'loss' ? { effectMs: lab.clock.now(), keyVersions: ['k'] } : lab.carryOut(step, undo),
    }),
    /violated: .*premium\.lastGoodWrite/,
  ],
  [
    'the lab injects no fault and reports none',
    (lab) => ({ carryOut: async (step, undo) => (step.name === 'loss' ? {} : lab.carryOut(step, undo)) }),
    /inconclusive: .*"loss" took no key away/,
  ],
  ['the probe has no data', observing(() => ({ io: [] })), /vacuous: .*never put to the test/],
  [
    'the probe of the control group has no data',
    observing(({ io }) => ({ io: io.filter(({ machine }) => !machine.includes('control')) })),
    /vacuous: .*control/,
  ],
  ['the oracle has no data', observing(() => ({ guarantees: [] })), /vacuous: .*the oracle checked no rule/],
  [
    'an undo fails',
    (lab) => ({
      undo: (undo, start) =>
        undo.step === 'pause-key-vault' ? Promise.reject(new Error('no such process')) : lab.undo(undo, start),
    }),
    /inconclusive: .*no such process/,
  ],
  [
    'the lab reports an undo that it did not do',
    (lab) => ({
      undo: async (undo, start) => (undo.step === 'loss' ? { effectMs: lab.clock.now() } : lab.undo(undo, start)),
    }),
    /violated: .*bytesLost/,
  ],
  [
    'the control group is under the treated key',
    observing(({ machines }) => {
      const [treated] = machines.flatMap(({ group, disks }) => (group === 'premium' ? disks : []));
      const isControl = ({ group }: { readonly group: string }): boolean => group === 'control';
      const moved = machines.map((one) =>
        isControl(one)
          ? { ...one, disks: one.disks.map((disk) => ({ ...disk, keyVersion: treated?.keyVersion ?? '' })) }
          : one,
      );
      return { machines: moved };
    }),
    /inconclusive: .*the control control-1 has a disk under the key that "loss" took/,
  ],
  [
    'the record loses an earlier failure',
    observing(({ io }, looks) => {
      const last = io.findLast(({ machine }) => machine.includes('control'));
      return looks === 20 && last !== undefined ? { io: [...io, { ...last, ok: false, reason: 'UNAVAILABLE' }] } : {};
    }),
    /aborted: .*control\.failed > 0/,
  ],
  [
    't0 is 1 s after the end of the call',
    (lab) => ({
      carryOut: async (step, undo) => {
        const effect = await lab.carryOut(step, undo);
        return step.name === 'loss' ? { ...effect, effectMs: (effect.effectMs ?? 0) + 1_000 } : effect;
      },
    }),
    /inconclusive: .*t0 of "loss" is 1\.00 s after its call had ended/,
  ],
  [
    't0 and the end of the call are 8 s late',
    (lab) => ({
      carryOut: async (step, undo) => {
        const effect = await lab.carryOut(step, undo);
        if (step.name !== 'loss') return effect;
        await lab.clock.sleep(8_000);
        return { ...effect, effectMs: lab.clock.now() };
      },
    }),
    /inconclusive: .*t0 of "loss" is wrong: .* before t0/,
  ],
];

describe('a lab with a defect does not get the verdict `held`', () => {
  test('a lab without a defect gets it', async () => {
    const { outcome, because } = await verdictOf(undefined, short);
    assert.equal(outcome, 'held', because);
  });

  for (const [title, spoil, expected] of defects)
    test(title, async () => {
      const { outcome, because } = await verdictOf(spoil, short);
      assert.notEqual(outcome, 'held', because);
      assert.match(`${outcome}: ${because}`, expected);
    });
});
