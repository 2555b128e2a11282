import { type Clock, sleepBy } from './clock.ts';
import { timeHeap } from './time-heap.ts';

/** A clock that stops while any work is ready to run, then jumps to the next sleeper. */
export interface VirtualClock extends Clock {
  /** Suspends the machine for a time: wall clock and boot time advance, the monotonic clock and all sleeps do not. */
  suspend(durationMs: number): void;
  /** Moves only the wall clock, forwards or back. */
  stepWallClock(byMs: number): void;
  /**
   * Lets time pass until the condition holds.
   * @throws Error if it does not hold within `limitMs` of virtual time, or if no alarm or sleep is pending
   */
  until(condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<void>;
  /** Lets that much virtual time pass. */
  pass(durationMs: number): Promise<void>;
  /**
   * Lets time pass until the work is done, and returns or throws what it does.
   * @throws Error if it takes longer than `limitMs` of virtual time, or if no alarm or sleep is pending
   */
  drive<Result>(work: Promise<Result>, limitMs?: number): Promise<Result>;
  /** How many alarms and sleeps are pending. */
  pending(): number;
}

/** Ten minutes, far longer than any backoff. */
const LIMIT_MS = 600_000;

/**
 * Time for tests and the simulation. Code below the seams waits only for promises, so between two callbacks of the event loop all
 * ready work has run: one callback for each jump is enough.
 * @param jumpsATurn jumps within one turn of the event loop. With one, real waits (for a file or a thread) can end between any two
 *   jumps; more jumps save turns if nothing really waits
 */
export const virtualClock = (startMs = Date.UTC(2026, 0, 1), jumpsATurn = 1): VirtualClock => {
  const sleepers = timeHeap();
  let elapsedMs = 0;
  let suspendedMs = 0;
  let wallStepMs = 0;

  const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const jump = (toMs: number): void => {
    elapsedMs = Math.max(elapsedMs, toMs);
    sleepers.wakeUntil(elapsedMs);
  };
  const alarm: VirtualClock['alarm'] = (durationMs, wake) => sleepers.add(elapsedMs + Math.max(0, durationMs), wake);

  /** Time of the next alarm. @throws Error if no alarm is due by then */
  const nextWake = (endMs: number, limitMs: number): number => {
    const nextMs = sleepers.nextAt();
    if (nextMs === undefined) throw new Error('no alarm or sleep is pending: the condition cannot come true');
    if (nextMs > endMs) throw new Error(`the condition did not come true within ${limitMs} ms of virtual time`);
    return nextMs;
  };
  /** Jumps from sleeper to sleeper until `isDone`, which is called when all ready work has run. */
  const run = (isDone: () => boolean, limitMs: number): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const endMs = elapsedMs + limitMs;
    let isOver = false;
    const step = (): void => {
      if (isOver) return;
      try {
        isOver = isDone();
        if (isOver) resolve();
        else jump(nextWake(endMs, limitMs));
      } catch (error) {
        isOver = true;
        reject(error);
      }
    };
    // Node also runs ready promises between two immediates of one turn.
    const turn = (): void => {
      for (let jumps = 1; jumps < jumpsATurn; jumps += 1) setImmediate(step);
      setImmediate(() => {
        step();
        if (!isOver) turn();
      });
    };
    turn();
    return promise;
  };

  return {
    now: () => startMs + Math.floor(elapsedMs + suspendedMs + wallStepMs),
    monotonicMs: () => elapsedMs,
    bootMs: () => elapsedMs + suspendedMs,
    suspend(durationMs) {
      suspendedMs += durationMs;
    },
    stepWallClock(byMs) {
      wallStepMs += byMs;
    },
    sleep: sleepBy(alarm),
    alarm,
    pending: () => sleepers.size(),
    async until(condition, limitMs = LIMIT_MS) {
      const endMs = elapsedMs + limitMs;
      await nextTurn();
      while (!(await condition())) {
        jump(nextWake(endMs, limitMs));
        await nextTurn();
      }
    },
    async pass(durationMs) {
      let isOver = false;
      alarm(durationMs, () => {
        isOver = true;
      });
      await run(() => isOver, durationMs);
    },
    async drive(work, limitMs = LIMIT_MS) {
      let isOver = false;
      const end = (): void => {
        isOver = true;
      };
      work.then(end, end);
      await run(() => isOver, limitMs);
      return work;
    },
  };
};
