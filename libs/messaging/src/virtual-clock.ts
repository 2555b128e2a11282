import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock, Random } from '@interlock/runtime';

/** A clock for tests: stands still while anything has work to do, then jumps to the next sleeper. */
export interface VirtualClock extends Clock {
  /**
   * Lets time pass until the condition holds.
   * @throws Error when it does not within `limitMs` of virtual time, or when nobody sleeps any more
   */
  until(condition: () => boolean | Promise<boolean>, limitMs?: number): Promise<void>;
  /** Lets that much virtual time pass. */
  pass(durationMs: number): Promise<void>;
}

interface Sleeper {
  readonly wakeAt: number;
  readonly wake: () => void;
}

/** Ten minutes: far more than any back-off. */
const LIMIT_MS = 600_000;
/** Turns of the event loop in which everything that is ready runs: promises need one, abort signals a second. */
const SETTLE_TURNS = 2;

export const virtualClock = (startMs = Date.UTC(2026, 0, 1)): VirtualClock => {
  const sleepers = new Set<Sleeper>();
  let elapsedMs = 0;

  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < SETTLE_TURNS; turn += 1) await nextTurn();
  };
  const jump = (toMs: number): void => {
    elapsedMs = Math.max(elapsedMs, toMs);
    for (const sleeper of [...sleepers].filter(({ wakeAt }) => wakeAt <= elapsedMs)) sleeper.wake();
  };

  return {
    now: () => startMs + Math.floor(elapsedMs),
    monotonicMs: () => elapsedMs,
    sleep: (durationMs, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = (): void => {
          sleepers.delete(sleeper);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        const sleeper: Sleeper = { wakeAt: elapsedMs + durationMs, wake };
        sleepers.add(sleeper);
        signal?.addEventListener('abort', wake);
      }),
    async until(condition, limitMs = LIMIT_MS) {
      const endMs = elapsedMs + limitMs;
      await settle();
      while (!(await condition())) {
        const nextMs = Math.min(...[...sleepers].map(({ wakeAt }) => wakeAt));
        if (!Number.isFinite(nextMs))
          throw new Error('everybody waits and nobody sleeps: the condition cannot come true');
        if (nextMs > endMs) throw new Error(`the condition did not come true within ${limitMs} ms of virtual time`);
        jump(nextMs);
        await settle();
      }
    },
    async pass(durationMs) {
      const endMs = elapsedMs + durationMs;
      for (;;) {
        await settle();
        const nextMs = Math.min(endMs, ...[...sleepers].map(({ wakeAt }) => wakeAt));
        jump(nextMs);
        if (nextMs >= endMs) return settle();
      }
    },
  };
};

/** Chance that repeats itself for the same seed (mulberry32). For tests, never for keys. */
export const seededRandom = (seed: number): Random => {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(fraction() * 256));
  return {
    fraction,
    bytes,
    uuid: () => {
      const hex = Buffer.from(bytes(16)).toString('hex');
      const variant = '89ab'[Math.floor(fraction() * 4)];
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
  };
};
