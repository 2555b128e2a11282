import { findCause } from '../causes/causes.ts';
import { type ActionName, cloudParts, type Experiment, type Search, type SearchRange } from '../experiment.ts';
import { defaultSearch } from '../file/search.ts';
import { searchableActions } from '../file/step-schema.ts';
import { isFaultAction, isMachineAction, isUndoable, kindOf, takesAccess, targetKindOf } from '../timeline/actions.ts';
import { groupsOf, keysOf } from '../timeline/concerns.ts';
import type { Move } from './candidate.ts';

/** An action that a search may use, with everything that it may vary. */
export interface SearchChoice {
  readonly action: ActionName;
  readonly kind: 'cause' | 'replacement' | 'fault' | 'machines';
  /** At least one. */
  readonly goals: readonly Pick<Move, 'targets' | 'options'>[];
  readonly at: SearchRange;
  /** Absent: it has no end. */
  readonly for?: SearchRange;
  /** Absent: it has no option `by`. */
  readonly by?: SearchRange;
}

/** Shortest and usual ranges, in milliseconds. */
const shortestMs = 100;
const slowMs: SearchRange = { fromMs: 100, toMs: 2_000 };
const shiftMs: SearchRange = { fromMs: -3_600_000, toMs: 3_600_000 };

/**
 * What a search of an experiment may do.
 * @param fits whether a timeline of this one move is possible: the file would be valid, and the target can do it
 */
export const choicesOf = (experiment: Experiment, fits: (move: Move) => boolean): readonly SearchChoice[] => {
  const search = experiment.search ?? defaultSearch;
  return wantedOf(search).flatMap((wanted): readonly SearchChoice[] => {
    const { action, at = { fromMs: 0, toMs: search.withinMs } } = wanted;
    const lasts = isLasting(action) ? { for: wanted.for ?? { fromMs: shortestMs, toMs: search.withinMs } } : {};
    const by = byOf(action, wanted.by);
    const goals = goalsOf(action, wanted.targets, experiment).filter((goal) =>
      fits({
        ...goal,
        ...{ action, atMs: at.fromMs, start: false },
        ...(lasts.for && { forMs: lasts.for.toMs }),
        options: { ...goal.options, ...(by && { by: by.toMs }) },
      }),
    );
    return goals.length === 0 ? [] : [{ action, kind: kindIn(action), goals, at, ...lasts, ...(by && { by }) }];
  });
};

/** The actions of the file; otherwise all but those that nothing undoes. */
const wantedOf = ({ actions }: Search): NonNullable<Search['actions']> =>
  actions ??
  searchableActions.filter((action) => !takesAccess(action) || isUndoable(action)).map((action) => ({ action }));

const kindIn = (action: ActionName): SearchChoice['kind'] => {
  if (takesAccess(action)) return 'cause';
  if (isFaultAction(action)) return 'fault';
  return isMachineAction(action) ? 'machines' : 'replacement';
};

/** Whether an action has an end of its own: losses and faults. What is done to machines and versions of keys stays. */
const isLasting = (action: ActionName): boolean => isUndoable(action) && (takesAccess(action) || isFaultAction(action));

const byOf = (action: ActionName, wanted: SearchRange | undefined): SearchRange | undefined =>
  kindOf(action)?.options?.by === undefined ? undefined : (wanted ?? (action === 'shift-clock' ? shiftMs : slowMs));

/** Each target with each choice of the action. */
function goalsOf(
  action: ActionName,
  wanted: readonly string[] | undefined,
  experiment: Experiment,
): SearchChoice['goals'] {
  const parts = wanted ?? cloudParts;
  const groups = wanted ?? groupsOf(experiment.estate).map(({ name }) => name);
  const keys = keysOf({ estate: experiment.estate, timeline: [] });
  switch (targetKindOf(action)) {
    case 'two-parts':
      return pairsOf(parts).map((targets) => ({ targets, options: {} }));
    case 'part':
      return parts.map((part) => ({ targets: [part], options: {} }));
    // A search does not know how many hosts a cloud has.
    case 'host':
      return (wanted ?? []).map((host) => ({ targets: [host], options: {} }));
    case 'group':
      return groups.map((group) => ({ targets: [group], options: {} }));
    default:
      return (wanted ?? keys).flatMap((key) =>
        optionsOf(action, key, keys).map((options) => ({ targets: [key], options })),
      );
  }
}

const pairsOf = (parts: readonly string[]): readonly (readonly string[])[] =>
  parts.flatMap((one, index) => parts.slice(index + 1).map((other) => [one, other]));

function optionsOf(action: ActionName, key: string, keys: readonly string[]): readonly Move['options'][] {
  if (action === 'assign-key') return keys.filter((other) => other !== key).map((to) => ({ to }));
  const choice = findCause(action)?.choice;
  const final = takesAccess(action) && !isUndoable(action) ? { leave: true } : {};
  return choice === undefined ? [final] : choice.values.map((value) => ({ ...final, [choice.option]: value }));
}
