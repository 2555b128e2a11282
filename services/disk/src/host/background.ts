import { resumption } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Cohort, openCohort, type Step } from '../moves/cohort.ts';

/** How often it is looked how late this process is, in ms. */
const sampleMs = 10;
/** So late it may be where guests wait for it, in ms: half of what a read takes with nothing beside it, which meets it twice. */
const lateMsMax = 2;
/** Looks on time, one after the other, after which one more is let in: the last one has had its effect by then. */
const onTimeMin = 4;
/** For so long after a read or a write guests are taken to be there, in ms. */
const guestsStayMs = 1_000;
/**
 * Pieces let in together while guests are there: at first, and at least, however late this process is. Looks, commits, messages
 * and what is told of them cost about as much for four as for thirty, so with fewer more of the processor is used for each.
 */
const widthMin = 32;
/** The rest after what was let in together, as a share of how long that took: guests have the processor for half of the time. */
const restShare = 1;
/** What was let in together is over when so many of it are left: one that is held up holds up nobody else. */
const heldUpShare = 1 / 4;

/**
 * Work that nobody waits for, in pieces, beside the reads and writes of guests. Where no guest is, all that is asked for is
 * under way at once. Where they are, some are let in together, and nothing is for as long as those took: the slower it goes,
 * whoever is to blame, the longer is the rest. Short bursts of many cost less than a trickle of few, and guests meet half of
 * them only.
 *
 * How many, this process finds out: a timer is set again and again, and where it comes late half as many are let in, where it does
 * not for some time one more. That is what a guest waits for: the event loop, the collector of garbage, or others that use the
 * processor for what is told of the work.
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
  /** When pieces were let in last, and when those were over; undefined while they are not. */
  let begunAtMs = 0;
  let overAtMs: number | undefined = 0;
  let isResting = false;

  const noteOver = (): void => {
    if (underWay <= (width ?? widthMin) * heldUpShare) overAtMs ??= clock.monotonicMs();
  };
  /** Whether guests have had their time since pieces were let in last; comes back when they have. */
  const isRested = (nowMs: number): boolean => {
    if (overAtMs === undefined) return false;
    const leftMs = overAtMs + (overAtMs - begunAtMs) * restShare - nowMs;
    if (leftMs <= 0) return true;
    if (!isResting) {
      isResting = true;
      clock.alarm(leftMs, () => {
        isResting = false;
        plan();
      });
    }
    return false;
  };

  const begin = (): void => {
    isPlanned = false;
    const nowMs = clock.monotonicMs();
    if (nowMs - guestAtMs > guestsStayMs) width = undefined;
    else width ??= widthMin;
    const room = width === undefined ? waiting.length : width - underWay;
    if (waiting.length === 0 || room <= 0 || (width !== undefined && !isRested(nowMs))) return;
    begunAtMs = nowMs;
    overAtMs = undefined;
    const cohort = openCohort(clock);
    for (const start of waiting.splice(0, room)) {
      underWay += 1;
      void start(cohort).then(() => {
        underWay -= 1;
        noteOver();
        plan();
      });
    }
    noteOver();
    look();
  };
  const plan = (): void => {
    if (isPlanned) return;
    isPlanned = true;
    // A microtask later: those of one turn are let in together.
    queueMicrotask(begin);
  };

  const look = (): void => {
    // A rest says nothing of what there is room for, and less than the least cannot be made of it.
    if (isLooking || underWay === 0 || (waiting.length === 0 && underWay <= widthMin)) return;
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
      const asAsker = resumption();
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
