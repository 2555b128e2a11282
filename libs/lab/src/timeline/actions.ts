import {
  type CallableCause,
  type Cause,
  type CauseName,
  type Choice,
  causes,
  findCause,
  isFinal,
} from '../causes/causes.ts';
import type { ActionKind, TargetKind } from './action-kind.ts';
import { type FaultAction, faults } from './faults.ts';
import { type HostAction, ofHosts } from './hosts.ts';

/** Actions that replace a key, in addition to the causes of losses. */
const replacements = {
  'rotate-key': {
    targets: 'key',
    done: 'key rotated',
    description: 'Makes a new version of the key; the set rewraps its disks.',
  },
  'assign-key': {
    targets: 'key',
    done: 'other key assigned',
    description: 'Assigns another key to the set: see `to`.',
    options: { to: 'needed' },
  },
} as const satisfies Readonly<Record<string, ActionKind>>;

/** Actions of users on machines. */
const ofMachines = {
  start: {
    targets: 'group',
    done: 'start requested',
    description:
      'Starts the machines of the group. In a `give-back`, `start: true` also starts the machines that the loss stopped.',
  },
  stop: { targets: 'group', done: 'machines stopped by a user', description: 'Stops the machines of the group.' },
  attach: {
    targets: 'group',
    done: 'disk attached',
    description: 'Attaches a new data disk to each machine, of the class and key of its last disk.',
  },
  detach: { targets: 'group', done: 'disk detached', description: 'Detaches the last data disk of each machine.' },
  snapshot: {
    targets: 'group',
    done: 'snapshot created',
    description: 'Takes a snapshot of the disks of each machine.',
  },
} as const satisfies Readonly<Record<string, ActionKind>>;

const giveBack: ActionKind = {
  targets: 'step',
  done: 'access given back',
  description: 'Undoes an earlier step of this name.',
  options: { start: 'allowed' },
  isFinal: true,
};

export type KeyAction = CauseName | keyof typeof replacements;
export type MachineAction = keyof typeof ofMachines;
export type ActionName = KeyAction | FaultAction | MachineAction | HostAction | 'give-back';
/** Actions on keys that are calls of services. Each target implements `throttle` itself. */
export type CallableKeyAction = CallableCause | keyof typeof replacements;

const ofCause = (cause: Cause): ActionKind => ({
  targets: 'key',
  done: cause.done,
  description: cause.description,
  isFinal: isFinal(cause),
  ...(cause.choice === undefined ? {} : { options: { [cause.choice.option]: 'needed' } }),
});

const ofCauses = Object.fromEntries(causes.map((cause) => [cause.name, ofCause(cause)])) as Readonly<
  Record<CauseName, ActionKind>
>;

/** Every action of a timeline. */
export const actions: Readonly<Record<ActionName, ActionKind>> = {
  ...ofCauses,
  ...replacements,
  ...faults,
  ...ofMachines,
  ...ofHosts,
  'give-back': giveBack,
};

/** Names of all actions. */
export const actionNames = Object.keys(actions) as readonly ActionName[];

/** What is known of an action; undefined for an unknown name. */
export const kindOf = (action: string): ActionKind | undefined =>
  Object.hasOwn(actions, action) ? actions[action as ActionName] : undefined;

export const isFaultAction = (action: string): action is FaultAction => Object.hasOwn(faults, action);
export const isMachineAction = (action: string): action is MachineAction => Object.hasOwn(ofMachines, action);
export const isHostAction = (action: string): action is HostAction => Object.hasOwn(ofHosts, action);
export const isKeyAction = (action: string): action is KeyAction => kindOf(action)?.targets === 'key';
export const isCallableKeyAction = (action: string): action is CallableKeyAction =>
  isKeyAction(action) && action !== 'throttle';

export const targetKindOf = (action: ActionName): TargetKind => actions[action].targets;

/** Whether the action takes a key away; the other key actions replace it. */
export const takesAccess = (action: string): boolean => findCause(action) !== undefined;

/** Whether the action can be undone: a purged key is gone, and a restart is over when it is done. */
export const isUndoable = (action: string): boolean => kindOf(action)?.isFinal !== true;

/** `role removed` of `remove-role`. */
export const actionInWords = (action: string): string => kindOf(action)?.done ?? action;

/**
 * What a step removes, if its action has a choice.
 * @throws Error if the step names something else
 */
export const choiceOf = (step: {
  readonly action: string;
  readonly options: Readonly<Record<string, string | number | boolean>>;
}): Choice | undefined => {
  const choice = findCause(step.action)?.choice;
  if (choice === undefined) return undefined;
  const wanted = String(step.options[choice.option]);
  const found = choice.values.find((value) => value === wanted);
  if (found === undefined) throw new Error(`${choice.option} must be ${choice.values.join(', ')} (got ${wanted})`);
  return found;
};
