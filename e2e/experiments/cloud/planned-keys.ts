import type { Experiment, PlannedGroup } from '@interlock/experiment';

/** Name of the key of disks that are under no key of a customer. */
export const platform = 'platform';

const groupsOf = ({ estate }: Pick<Experiment, 'estate'>): readonly PlannedGroup[] =>
  estate.kind === 'planned' ? estate.groups : [];

/** Names of the keys that an estate needs, in the order of the file; those that only `assign-key` names come last. */
export const keyNamesOf = (experiment: Pick<Experiment, 'estate' | 'timeline'>): readonly string[] => {
  const groups = groupsOf(experiment);
  const ofDisks = groups.flatMap(({ disks, key }) => [...disks.map((disk) => disk.key), key]);
  const assigned = experiment.timeline.flatMap(({ action, options }) =>
    action === 'assign-key' ? [String(options.to)] : [],
  );
  return [...new Set([...ofDisks, ...assigned])].filter((name) => name !== '' && name !== platform);
};

/**
 * The key that a key action targets: that of a group, or the one of that name.
 * @throws Error if the group has no key of a customer
 */
export const keyOfTarget = (experiment: Pick<Experiment, 'estate'>, target: string): string => {
  const group = groupsOf(experiment).find(({ name }) => name === target);
  if (group === undefined) return target;
  const name = group.key === '' ? group.disks.find((disk) => disk.key !== platform)?.key : group.key;
  if (name === undefined || name === platform)
    throw new Error(`the group ${target} has no key: its disks are under the platform's`);
  return name;
};

/** Keys whose vault needs a certain form, because a step targets them with one of these actions. */
export const keysOfActions = (
  experiment: Pick<Experiment, 'estate' | 'timeline'>,
  ...actions: readonly string[]
): ReadonlySet<string> =>
  new Set(
    experiment.timeline
      .filter(({ action }) => actions.includes(action))
      .flatMap(({ targets }) => targets.map((target) => keyOfTarget(experiment, target))),
  );
