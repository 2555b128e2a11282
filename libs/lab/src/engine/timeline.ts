import type { Clock } from '@interlock/runtime';
import type { Experiment, Step } from '../experiment.ts';
import type { Expression, Term } from '../expression.ts';
import type { Actor } from './actor.ts';

/** Work with its due time. `atMs`: after the start of the timeline. */
interface Due {
  readonly atMs: number;
  readonly begin: (plannedMs: number) => Promise<void>;
}

/** Steps that are not undos of others. */
export const injectionsOf = ({ timeline }: Pick<Experiment, 'timeline'>): readonly Step[] =>
  timeline.filter(({ action }) => action !== 'give-back');

const dueOf = (timeline: readonly Step[], actor: Actor): readonly Due[] =>
  timeline
    .flatMap((step): readonly Due[] => {
      const { name, atMs, forMs, action, targets, options } = step;
      if (action === 'give-back') {
        const [of = ''] = targets;
        const start = options.start === true;
        return [{ atMs, begin: (plannedMs) => actor.undo(of, { plannedMs, giveBack: name, start }) }];
      }
      const injection: Due = { atMs, begin: (plannedMs) => actor.carryOut(step, plannedMs) };
      if (forMs === undefined) return [injection];
      return [injection, { atMs: atMs + forMs, begin: (plannedMs) => actor.undo(name, { plannedMs, start: false }) }];
    })
    // A stable sort: entries of the same time stay in the order of the file.
    .sort((one, other) => one.atMs - other.atMs);

/**
 * Starts each step at its time, without waiting for earlier ones, and resolves when all are done.
 * @param startedMs start of the timeline by the wall clock of the lab
 * @param signal ends it early: later steps are not started
 */
export const runTimeline = async (
  timeline: readonly Step[],
  actor: Actor,
  { clock, startedMs, signal }: { readonly clock: Clock; readonly startedMs: number; readonly signal: AbortSignal },
): Promise<void> => {
  const fromMs = clock.monotonicMs();
  const started: Promise<void>[] = [];
  for (const { atMs, begin } of dueOf(timeline, actor)) {
    const leftMs = fromMs + atMs - clock.monotonicMs();
    if (leftMs > 0) await clock.sleep(leftMs, signal);
    if (signal.aborted) break;
    started.push(begin(startedMs + atMs));
  }
  await Promise.all(started);
};

/**
 * How long the lab is observed after the last step, in milliseconds. A loss that the file never gives back needs the longest time
 * that an expectation or a proof allows. Otherwise the run waits for the restored machines anyway.
 */
export const lingerMsOf = ({ timeline, expect, proof }: Experiment): number => {
  const givenBack = new Set(timeline.flatMap(({ action, targets }) => (action === 'give-back' ? targets : [])));
  const isLeft = injectionsOf({ timeline }).some(({ name, forMs }) => forMs === undefined && !givenBack.has(name));
  if (!isLeft) return 0;
  const durations = expect.flatMap(({ expression }) => durationsIn(expression));
  return Math.max(0, ...durations, ...proof.map(({ withinMs }) => withinMs));
};

const durationsIn = (expression: Expression): readonly number[] =>
  expression.kind === 'compare' ? [expression.left, expression.right].flatMap(durationIn) : [];

const durationIn = ({ offset, hasUnit }: Term): readonly number[] => (hasUnit ? [offset] : []);
