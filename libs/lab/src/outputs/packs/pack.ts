import { findCause } from '../../causes/causes.ts';
import type { EstateDisk, EstateFile, EstateMachine } from '../../estate/estate-file.ts';
import {
  type CloudPart,
  type Condition,
  type Experiment,
  type FaultAction,
  isHostTarget,
  type PlannedGroup,
  type Problem,
  type Step,
} from '../../experiment.ts';
import { plannedLimitMs } from '../../expressions/can-fail.ts';
import { durationText } from '../../expressions/duration.ts';
import { isFaultAction, isKeyAction, takesAccess } from '../../timeline/actions.ts';
import { giveBackOf, groupsOf, keyOfTarget, keysOf } from '../../timeline/concerns.ts';
import { yamlComment } from '../yaml-text.ts';
import { type KeyCommands, type KeyNames, keyCommands } from './key-commands.ts';

/** Arguments of `interlock`. */
export type Command = readonly string[];

/** A step of a timeline in a form for other tools. Times after the start, in milliseconds. */
export type PackStep = { readonly name: string; readonly atMs: number } & (
  | { readonly kind: 'commands'; readonly commands: readonly Command[] }
  | {
      readonly kind: 'fault';
      readonly action: FaultAction;
      readonly parts: readonly CloudPart[];
      readonly forMs: number;
      readonly byMs: number;
    }
);

/** An experiment in the terms that chaos tools share. */
export interface Pack {
  readonly title: string;
  readonly description: string;
  /** Probes that hold before and after. */
  readonly steady: readonly Command[];
  /** Machines that run during the whole timeline. */
  readonly control: readonly string[];
  /** By time. */
  readonly steps: readonly PackStep[];
  /** Probes at the end of the timeline, before the last give-back. */
  readonly checks: readonly { readonly atMs: number; readonly command: Command }[];
  /** Commands that give access back and start machines; they always run. */
  readonly rollbacks: readonly Command[];
  readonly endMs: number;
  /** The estate to import first; undefined for existing machines. */
  readonly estate?: EstateFile;
  /** Parts of the experiment that the pack leaves out. */
  readonly notes: readonly string[];
  /** Parts that it only has in a weaker form, and how. */
  readonly weaker: readonly string[];
}

/** Region of the resources of a pack. */
const location = 'westeurope';

/**
 * Converts an experiment into a form for chaos tools. It leaves out expectations about times, because the tools know only states.
 * @returns problems if a step that takes a key has no commands
 */
export function packOf(experiment: Experiment): { readonly pack: Pack } | { readonly problems: readonly Problem[] } {
  const { timeline, estate, expect, title, description = '' } = experiment;
  const parts = timeline.map((step) => partsOf(experiment, step));
  const problems = parts.flatMap((part) => part.problems ?? []);
  if (problems.length > 0) return { problems };
  const steps = parts.flatMap((part) => part.steps ?? []).toSorted((a, b) => a.atMs - b.atMs);
  const given = timeline.filter(({ action, options }) => action === 'give-back' && options.start === true);
  const treated = [...new Set(given.flatMap((step) => treatedBy(experiment, step)))];
  const checked = expect.map((condition) => ({ text: condition.text, check: checkOf(experiment, condition) }));
  const control = groupsOf(estate).filter(
    ({ name }) => !timeline.some(({ targets }) => targets.includes(name)) && /^control/i.test(name),
  );
  return {
    pack: {
      title,
      description,
      steady: experiment.steady.flatMap(steadyCommands),
      control: control.flatMap(machinesOf),
      steps,
      checks: checked.flatMap(({ check }) => check ?? []),
      rollbacks: [
        ...parts.flatMap((part) => part.rollbacks ?? []),
        ...treated.map((vm): Command => ['vm', 'start', vm, '--wait']),
      ],
      endMs: Math.max(0, ...steps.map((step) => step.atMs + (step.kind === 'fault' ? step.forMs : 0))),
      ...(estate.kind === 'planned' ? { estate: estateFileOf(experiment) } : {}),
      notes: [
        ...parts.flatMap((part) => part.notes ?? []),
        ...checked.flatMap(({ text, check }) => (check === undefined ? [`expect: ${text}`] : [])),
        ...experiment.proof.map(({ of, see, withinMs }) => `proof: ${see} of ${of} within ${durationText(withinMs)}`),
        ...experiment.abort.map(({ text }) => `abort: ${text}`),
        ...experiment.steady.flatMap((check) => (check.kind === 'io' ? [`steady: I/O of ${check.group}`] : [])),
        ...Object.entries(experiment.settings).map(([name, value]) => `setting: ${name}=${value}`),
      ],
      weaker: checked.flatMap(({ text, check }) =>
        check?.weaker === undefined ? [] : [`expect: ${text}: ${check.weaker}`],
      ),
    },
  };
}

/** Parts of the pack for a step of the timeline. */
interface StepParts {
  readonly steps?: readonly PackStep[];
  readonly rollbacks?: readonly Command[];
  readonly notes?: readonly string[];
  readonly problems?: readonly Problem[];
}

const partsOf = (experiment: Experiment, step: Step): StepParts => {
  const { name, atMs, action, targets, line } = step;
  if (action === 'give-back') return {};
  const host = targets.find(isHostTarget);
  if (host !== undefined) {
    const message = `${name}: no chaos tool can do ${action} to ${host}`;
    return { problems: [{ line, message, cure: 'Name disk or compute, or run it with --target local.' }] };
  }
  if (isFaultAction(action)) return { steps: [faultOf(experiment, step)] };
  if (action === 'start' || action === 'stop') {
    const machines = groupsOf(experiment.estate).filter((group) => targets.includes(group.name));
    return {
      steps: machines.flatMap(machinesOf).map((vm) => ({
        ...{ name: `${name}-${vm}`, atMs, kind: 'commands' as const },
        commands: [['vm', action, vm]],
      })),
    };
  }
  const names = namesOf(experiment, targets[0] ?? '');
  const commands = isKeyAction(action) && names !== undefined ? keyCommands(step, names) : undefined;
  if (commands !== undefined) return keySteps(experiment, step, commands);
  if (!takesAccess(action)) return { notes: [`step: ${name} (line ${line})`] };
  const message = `${name}: no command line does ${action} to ${targets[0]}`;
  return { problems: [{ line, message, cure: cureOf(names) }] };
};

/** When a step is undone; undefined if it never is. */
const endOf = (experiment: Experiment, step: Step): number | undefined =>
  step.forMs === undefined ? giveBackOf(experiment, step)?.atMs : step.atMs + step.forMs;

const faultOf = (experiment: Experiment, step: Step): PackStep => ({
  name: step.name,
  atMs: step.atMs,
  kind: 'fault',
  action: step.action as FaultAction,
  // No tool can change the boot time.
  parts: step.options.clock === 'boot' ? [] : (step.targets as readonly CloudPart[]),
  forMs: (endOf(experiment, step) ?? step.atMs) - step.atMs,
  byMs: Number(step.options.by ?? 0),
});

const keySteps = (experiment: Experiment, step: Step, { take, giveBack }: KeyCommands): StepParts => {
  const { name, atMs } = step;
  const endMs = endOf(experiment, step);
  const back: PackStep = { name: `give-back-${name}`, atMs: endMs ?? 0, kind: 'commands', commands: giveBack };
  return {
    steps: [
      { name, atMs, kind: 'commands', commands: take },
      ...(endMs === undefined || giveBack.length === 0 ? [] : [back]),
    ],
    rollbacks: giveBack,
  };
};

const cureOf = (names: KeyNames | undefined): string =>
  names === undefined
    ? 'Plan the estate in the file, so that the key has a vault with a known name.'
    : 'Use disable-key, delete-key, delete-vault, remove-policy, remove-permission, remove-role or switch-permission-model.';

const machinesOf = ({ name, machines }: PlannedGroup): readonly string[] =>
  Array.from({ length: machines }, (_, n) => `${name}-${n + 1}`);

const namesOfKey = (key: string): KeyNames => ({ vault: `kv-${key}`, key: `kv-${key}/${key}`, set: key });

/** Names of the key of a target; undefined for existing machines, whose vaults are not known. */
const namesOf = ({ estate }: Experiment, target: string): KeyNames | undefined =>
  estate.kind === 'planned' ? namesOfKey(keyOfTarget(estate, target)) : undefined;

/** Machines under the key that a give-back returns. */
const treatedBy = ({ timeline, estate }: Experiment, { targets: [name] }: Step): readonly string[] => {
  const [target = ''] = timeline.find((step) => step.name === name)?.targets ?? [];
  const key = keyOfTarget(estate, target);
  return groupsOf(estate)
    .filter(({ disks }) => disks.some((disk) => disk.key === key))
    .flatMap(machinesOf);
};

const steadyCommands = (check: Experiment['steady'][number]): readonly Command[] => {
  if (check.kind === 'services-ready') return [['probe', 'services', '--gap', '100']];
  return check.kind === 'leases-held' ? [['probe', 'leases']] : [];
};

/** A probe of an expectation, and in what it is weaker. */
type Check = Pack['checks'][number] & { readonly weaker?: string };

/** The probe of an expectation about a state: `premium.running`, `premium.stopped <= loss + 5s`. */
const checkOf = (experiment: Experiment, { text, expression }: Condition): Check | undefined => {
  const [, name, what, rest] = /^([\w-]+)\.(running|isStopped|stopped)\b(.*)$/.exec(text) ?? [];
  const group = groupsOf(experiment.estate).find((one) => one.name === name);
  const loss = experiment.timeline.find(({ action }) => takesAccess(action));
  if (group === undefined || loss === undefined) return undefined;
  const machines = machinesOf(group);
  const backMs = giveBackOf(experiment, loss)?.atMs ?? loss.atMs + (loss.forMs ?? 0);
  const lastMs = Math.max(0, backMs - 1_000);
  const once = `checked once, ${durationText(lastMs)} after the start`;
  if (what === 'running')
    return { atMs: lastMs, command: ['probe', 'running', ...machines], weaker: `${once}, and not all the time` };
  const command = ['probe', 'stopped', ...machines];
  if (what === 'isStopped') return { atMs: lastMs, command, weaker: `${once}, and not at the end` };
  if (rest?.includes('<') !== true) return undefined;
  const limitMs = plannedLimitMs(expression, experiment);
  if (limitMs !== undefined && limitMs <= lastMs)
    return {
      atMs: limitMs,
      command,
      weaker: `checked ${durationText(limitMs)} after the start, by the platform or by its user`,
    };
  return { atMs: lastMs, command, weaker: once };
};

/** The planned estate as a file for `interlock estate import`, with the names that the commands use. */
const estateFileOf = (experiment: Experiment): EstateFile => {
  const keys = keysOf(experiment);
  const byRole = new Set(
    experiment.timeline
      .filter(({ action }) => findCause(action)?.model === 'ROLE_ASSIGNMENT')
      .map(({ targets: [target = ''] }) => keyOfTarget(experiment.estate, target)),
  );
  const planned = groupsOf(experiment.estate).flatMap((group) =>
    machinesOf(group).map((vm) => ({ vm, disks: group.disks })),
  );
  const disks = planned.flatMap(({ vm, disks: own }) =>
    own.map(
      (disk, n): EstateDisk => ({
        name: `${vm}-d${n}`,
        class: disk.class,
        gib: disk.class === 'ultra' ? 4 : 1,
        ...(disk.key === 'platform' ? {} : { set: disk.key }),
      }),
    ),
  );
  const machines = planned.map(
    ({ vm, disks: own }): EstateMachine => ({
      name: vm,
      osDisk: `${vm}-d0`,
      ...(own.length === 1 ? {} : { dataDisks: own.slice(1).map((_, n) => ({ lun: n, disk: `${vm}-d${n + 1}` })) }),
    }),
  );
  return {
    location,
    vaults: keys.map((key) => ({
      name: namesOfKey(key).vault,
      ...(byRole.has(key) ? { permissions: 'roles' as const } : {}),
      keys: [{ name: key }],
    })),
    sets: keys.map((key) => ({ name: key, key: namesOfKey(key).key })),
    disks,
    machines,
  };
};

/** Comment lines of a pack: how to run it, and what it leaves out. */
export const headOf = ({ title, notes, weaker, estate, endMs }: Pack, how: readonly string[]): string =>
  [
    `${title}. Made by interlock experiment export; the timeline lasts ${durationText(endMs)}.`,
    ...(estate === undefined
      ? []
      : ['First: interlock estate import estate.yaml --group <group>, and set INTERLOCK_GROUP.']),
    ...how,
    ...(notes.length === 0 ? [] : ['Not in it, because the tool cannot say it:', ...notes.map((note) => `  ${note}`)]),
    ...(weaker.length === 0 ? [] : ['Weaker in it:', ...weaker.map((note) => `  ${note}`)]),
  ]
    .map(yamlComment)
    .join('');

/** Faults that a tool without pauses has in a weaker form. */
export const weakerFaults = ({ steps }: Pack): readonly string[] =>
  steps.flatMap((step) =>
    step.kind === 'fault' && step.action === 'pause'
      ? [`step: ${step.name}: cut off from all messages, and not paused`]
      : [],
  );

/** Steps under names of Kubernetes: in lower case, each once. */
export const withObjectNames = (steps: readonly PackStep[]): readonly PackStep[] => {
  const taken = new Set<string>();
  return steps.map((step) => ({ ...step, name: freeNameIn(taken, step.name.toLowerCase()) }));
};

/** The name, or one with a number if it is taken already; it is taken then. */
export const freeNameIn = (taken: Set<string>, name: string): string => {
  let free = name;
  for (let n = 2; taken.has(free); n += 1) free = `${name}-${n}`;
  taken.add(free);
  return free;
};
