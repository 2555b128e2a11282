import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '@interlock/runtime';
import { type Cohort, openCohort, type Step } from './cohort.ts';

/** How often it is looked how late this process is, in ms. */
const sampleMs = 10;
/** So late it may be where guests wait for it, in ms: half of what a read takes with nothing beside it, which meets it twice. */
const lateMsMax = 2;
/** Looks on time, one after the other, after which one more is let in: the last one has had its effect by then. */
const onTimeMin = 4;
/** For so long after a read or a write guests are taken to be there, in ms. */
const guestsStayMs = 1_000;
/**
 * Pieces under way while guests are there: at first, and at least, however late this process is. With four times as many
 * guests wait twice as long at p99, and twice as much is done.
 */
const widthMin = 8;

/**
 * Work that nobody waits for, in pieces, beside the reads and writes of guests. Where no guest is, all that is asked for is
 * under way at once. Where they are, only as much as leaves this process on time: a timer is set again and again, and where
 * it comes late half as much is let in, where it does not for some time one more. That is what a guest waits for, whoever is to blame:
 * the event loop, the collector of garbage, or others that use the processor for what is told of the work.
 *
 * Less at once costs nothing as long as the processor is what there is too little of: the same is done, and it leaves less
 * behind that the collector has to move.
 */
export interface Background {
  /** Does one piece when there is room for it, in step with those that are let in with it, as part of its asker's own work. */
  run<Result>(work: (step: Step) => Promise<Result>): Promise<Result>;
  /** Says that a guest reads or writes. */
  noteGuest(): void;
}

/** Nothing is under way yet. */
export const openBackground = (clock: Pick<Clock, 'alarm' | 'monotonicMs'>): Background => {
  const waiting: ((cohort: Cohort) => Promise<void>)[] = [];
  let underWay = 0;
  let guestAtMs = Number.NEGATIVE_INFINITY;
  /** Pieces that may be under way; undefined where no guest is. */
  let width: number | undefined;
  let isPlanned = false;
  let isLooking = false;
  /** Looks on time in a row. */
  let onTimeCount = 0;

  const begin = (): void => {
    isPlanned = false;
    if (clock.monotonicMs() - guestAtMs > guestsStayMs) width = undefined;
    else width ??= widthMin;
    // In halves of what may be under way: one by one they would share nothing.
    const room = width === undefined ? waiting.length : width - underWay;
    const portion = Math.min(waiting.length, width === undefined ? waiting.length : Math.ceil(width / 2));
    if (portion === 0 || room < portion) return;
    const cohort = openCohort(clock);
    for (const start of waiting.splice(0, room)) {
      underWay += 1;
      void start(cohort).then(() => {
        underWay -= 1;
        plan();
      });
    }
    look();
  };
  const plan = (): void => {
    if (isPlanned) return;
    isPlanned = true;
    // A microtask later: those of one turn are let in together.
    queueMicrotask(begin);
  };

  const look = (): void => {
    // Less than the least cannot be made of it.
    if (isLooking || (waiting.length === 0 && underWay <= widthMin)) return;
    isLooking = true;
    const dueMs = clock.monotonicMs() + sampleMs;
    clock.alarm(sampleMs, () => {
      isLooking = false;
      const isLate = clock.monotonicMs() - dueMs > lateMsMax;
      onTimeCount = isLate ? 0 : onTimeCount + 1;
      if (width !== undefined) {
        if (isLate) width = Math.max(widthMin, Math.floor(width / 2));
        // Where nothing waits, being on time says nothing of what there is room for.
        else if (waiting.length > 0 && onTimeCount % onTimeMin === 0) width += 1;
      }
      look();
      plan();
    });
  };

  return {
    run(work) {
      // Whoever makes room lets it in: the deadline and the trace of that work are not this one's.
      const asAsker = AsyncLocalStorage.snapshot();
      return new Promise((resolve, reject) => {
        waiting.push((cohort) => asAsker(() => cohort.member(work)).then(resolve, reject));
        plan();
      });
    },
    noteGuest() {
      guestAtMs = clock.monotonicMs();
    },
  };
};
