import type { Experiment } from '../../experiment.ts';
import { isFaultAction, isKeyAction } from '../../timeline/actions.ts';
import { groupsOf, roleOf } from '../../timeline/concerns.ts';
import type { Verdict } from '../../verdict.ts';
import { className } from '../class-names.ts';
import type { MatrixCell } from './cell.ts';

/** A run, for the cell that it belongs to. */
export interface MatrixRun {
  readonly experiment: Experiment;
  readonly verdict: Verdict;
  /** Path of its report, relative to the page; undefined if it has none. */
  readonly report?: string;
}

/** Groups runs by cause, disk classes under the lost key, and faults. @param runs in the order in which they ran */
export const cellsOf = (runs: readonly MatrixRun[]): readonly MatrixCell[] =>
  [...Map.groupBy(runs, ({ experiment }) => JSON.stringify(placeOf(experiment))).values()].flatMap((same) => {
    const [first] = same;
    if (first === undefined) return [];
    const repeats = same.map(({ verdict, report }) => ({ verdict, ...(report === undefined ? {} : { report }) }));
    return [{ ...placeOf(first.experiment), repeats }];
  });

/** The place of an experiment in a matrix. */
function placeOf(experiment: Experiment): Omit<MatrixCell, 'repeats'> {
  const { timeline, estate } = experiment;
  const treated = groupsOf(estate).filter(({ name }) => roleOf(experiment, name) === 'treatment');
  const classes = treated.flatMap(({ disks }) =>
    disks.filter(({ key }) => key !== 'platform').map((disk) => disk.class),
  );
  const faults = timeline.filter(({ action }) => isFaultAction(action));
  return {
    cause: joined(timeline.filter(({ action }) => isKeyAction(action)).map(({ action }) => action)),
    diskClass: joined(classes.map(className)),
    fault: joined(faults.map(({ action, targets }) => `${action} ${targets.join(' and ')}`)),
  };
}

/** Each name once; `none` if there are none. */
const joined = (names: readonly string[]): string => [...new Set(names)].join(' + ') || 'none';
