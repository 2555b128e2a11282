import type { Estate, Experiment, PlannedGroup, Step } from '../experiment.ts';
import { isKeyAction, isMachineAction, takesAccess } from './actions.ts';

/** Estate and timeline of an experiment. */
export type Plan = Pick<Experiment, 'estate' | 'timeline'>;

/** The planned groups; none for existing machines. */
export const groupsOf = (estate: Estate): readonly PlannedGroup[] => (estate.kind === 'planned' ? estate.groups : []);

/** Names of the customer's keys, each once: those of disks, then those that only an `assign-key` names. */
export const keysOf = ({ estate, timeline }: Plan): readonly string[] => {
  const ofDisks = groupsOf(estate).flatMap(({ key, disks }) => [key, ...disks.map((disk) => disk.key)]);
  const assigned = timeline.flatMap(({ action, options: { to } }) =>
    action === 'assign-key' && typeof to === 'string' ? [to] : [],
  );
  return [...new Set([...ofDisks, ...assigned])].filter((key) => key !== '' && key !== 'platform');
};

/**
 * The key that a key action with this target changes: that of the group, or the key of that name. A group without a key of its own has that
 * of its first disk under one.
 * @returns `platform` for a group whose disks are under no key of a customer
 */
export function keyOfTarget(estate: Estate, target: string): string {
  const group = groupsOf(estate).find(({ name }) => name === target);
  if (group === undefined) return target;
  return group.key || (group.disks.find(({ key }) => key !== 'platform')?.key ?? 'platform');
}

/** The step that a `give-back` undoes; otherwise the step itself. */
export const stepUndone = (plan: Plan, step: Step): Step | undefined =>
  step.action === 'give-back' ? plan.timeline.find(({ name }) => name === step.targets[0]) : step;

/** Whether a step acts on the machines of a group, or on the key of one of its disks. Faults of the cloud act on no group. */
export function concerns(plan: Plan, step: Step, group: string): boolean {
  const { action, targets } = stepUndone(plan, step) ?? step;
  if (isMachineAction(action)) return targets.includes(group);
  if (!isKeyAction(action)) return false;
  const planned = groupsOf(plan.estate).find(({ name }) => name === group);
  if (planned === undefined) return targets.includes(group);
  const keys = targets.map((target) => keyOfTarget(plan.estate, target));
  return planned.disks.some(({ key }) => keys.includes(keyBefore(plan, key, stepUndone(plan, step) ?? step)));
}

/** The key that the set of a key has at a step, after every `assign-key` that is not undone by then. */
function keyBefore(plan: Plan, key: string, step: Step): string {
  const earlier = plan.timeline.slice(
    0,
    plan.timeline.findIndex(({ name }) => name === step.name),
  );
  const assigned = earlier.findLast((one) => {
    if (one.action !== 'assign-key' || keyOfTarget(plan.estate, one.targets[0] ?? '') !== key) return false;
    const undo = giveBackOf(plan, one);
    return (
      !(undo !== undefined && earlier.includes(undo)) && (one.forMs === undefined || one.atMs + one.forMs > step.atMs)
    );
  });
  return assigned === undefined ? key : String(assigned.options.to);
}

/** The steps that take a key of the group away, by time. */
export const lossesOf = (plan: Plan, group: string): readonly Step[] =>
  withoutThrottles(plan.timeline.filter((step) => takesAccess(step.action) && concerns(plan, step, group)));

/** Losses without throttles, unless there are only throttles: while a vault is throttled, machines keep running. */
export const withoutThrottles = (losses: readonly Step[]): readonly Step[] => {
  const taking = losses.filter(({ action }) => action !== 'throttle');
  return taking.length === 0 ? losses : taking;
};

/** The `give-back` of a step. */
export const giveBackOf = (plan: Plan, step: Step): Step | undefined =>
  plan.timeline.find(({ action, targets }) => action === 'give-back' && targets[0] === step.name);

/** When the timeline undoes a step, in milliseconds after its start; infinite if it does not. */
export const endMsOf = (plan: Plan, step: Step): number =>
  step.forMs === undefined ? (giveBackOf(plan, step)?.atMs ?? Number.POSITIVE_INFINITY) : step.atMs + step.forMs;

/** Whether the timeline itself undoes the step. */
export const isUndone = (plan: Plan, step: Step): boolean =>
  step.forMs !== undefined || giveBackOf(plan, step) !== undefined;

/** Control: a group that no step of the timeline concerns. */
export const roleOf = (plan: Plan, group: string): 'treatment' | 'control' =>
  plan.timeline.some((step) => concerns(plan, step, group)) ? 'treatment' : 'control';
