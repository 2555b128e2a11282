import type { Experiment, Problem, Target } from '@interlock/lab';
import { faultProblems } from './faults.ts';
import { experimentImage } from './image.ts';
import { type Keep, SimulatedLab } from './lab.ts';
import { experimentSettings, settingProblems, simulatedVariables } from './settings.ts';

/** Mean time between two operations of a guest on a disk, in milliseconds. */
const everyMs = 300;

type Settings = Pick<Experiment, 'settings' | 'settingLines'>;

const otherSettings = ({ settings, settingLines }: Settings): readonly Problem[] =>
  Object.keys(settings)
    .filter((name) => !simulatedVariables.includes(name))
    .map((name) => ({
      line: settingLines[name] ?? 1,
      message: `the simulation has no setting ${name}`,
      cure: `Leave it out, or run the file on another target. It has ${simulatedVariables.join(', ')}`,
    }));

const wrongSettings = ({ settings, settingLines }: Settings): readonly Problem[] =>
  settingProblems(settings).map(({ name, got, expected }) => ({
    line: settingLines[name] ?? 1,
    message: `the setting ${name} cannot be ${got}`,
    cure: `Give it ${expected}`,
  }));

/** Problems of an experiment that only the simulation has. */
const problemsOf = (experiment: Experiment): readonly Problem[] => {
  const { estate } = experiment;
  const existing =
    estate.kind === 'planned'
      ? []
      : [
          {
            line: estate.line,
            message: 'the simulation has no machines of its own',
            cure: 'Describe the estate in the file, or run it with --target existing',
          },
        ];
  const groups = estate.kind === 'planned' ? estate.groups : [];
  const inQemu = groups
    .filter(({ guest }) => guest === 'qemu')
    .map(({ name, line }) => ({
      line: line ?? 1,
      message: `the machines of ${name} run in QEMU, which has no virtual time`,
      cure: 'Use --target local, or remove guest: qemu.',
    }));
  return [
    ...existing,
    ...inQemu,
    ...otherSettings(experiment),
    ...wrongSettings(experiment),
    ...faultProblems(experiment),
  ];
};

/**
 * The whole cloud in this process, in virtual time. The same experiment with the same seed gives the same record, byte for byte.
 * @param keep receives what is kept in addition to the record
 */
export const simulatedTarget = (seed: number, keep: Keep = {}): Target => ({
  name: 'simulated',
  refuse: problemsOf,
  async open(experiment, signal) {
    const settings = experimentSettings(experiment.settings);
    const image = await experimentImage(experiment, settings);
    if (signal.aborted) throw new Error('the run was interrupted');
    return SimulatedLab.open({ experiment, settings, image, seed, everyMs, keep });
  },
});
