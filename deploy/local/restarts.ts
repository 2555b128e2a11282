import type { Clock } from '@interlock/runtime';
import { LauncherError } from './data-folder.ts';
import type { Crash } from './restartable.ts';

/** Delay of a restart unless `--restart-after` is given, in milliseconds. */
const restartAfterMs = 1_000;
/** Longest delay for a process that ends repeatedly, unless `--restart-after` is longer. */
const waitMsMax = 30_000;
/** A process that has run for this time counts as healthy: its next end gets the first delay again. */
const steadyMs = 60_000;

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * The delay of a restart in milliseconds; undefined for `never`.
 * @param text of `--restart-after`. It must have a unit, because users take a bare number for milliseconds or for seconds.
 * @throws LauncherError
 */
export function restartAfterOf(text: string | undefined): number | undefined {
  if (text === undefined) return restartAfterMs;
  if (text === 'never') return undefined;
  const [, amount, unit] = /^(\d{1,6})(ms|s|m|h)$/.exec(text) ?? [];
  if (amount !== undefined && unit !== undefined) return Number(amount) * (unitsMs[unit] ?? 0);
  const isBare = /^\d+$/.test(text);
  throw new LauncherError(
    isBare
      ? `--restart-after ${text} has no unit: ms, s, m or h, as in ${text}s.`
      : `--restart-after must be a duration such as 500ms, 30s, 2m or 1h, or never, not "${text}".`,
  );
}

/** What restarts need. */
export interface RestartParts {
  /** See `restartAfterOf`. */
  readonly afterMs: number | undefined;
  readonly clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  /** Prints a line for users. */
  readonly say: (line: string) => void;
  /** Ends the restarts. */
  readonly signal: AbortSignal;
}

/**
 * Restarts crashed services and servers, as a platform does: after the wait, which doubles
 * with each end that follows soon.
 * @returns receives each end
 */
export const openRestarts = ({ afterMs, clock, say, signal }: RestartParts): ((crash: Crash) => void) => {
  const ends = new Map<string, { readonly count: number; readonly backAtMs: number }>();

  const bringBack = async (crash: Crash, firstMs: number): Promise<void> => {
    const { name } = crash;
    const before = ends.get(name);
    const isSteady = before === undefined || clock.monotonicMs() - before.backAtMs >= steadyMs;
    for (let count = isSteady ? 0 : before.count; ; count += 1) {
      const waitMs = Math.min(firstMs * 2 ** count, Math.max(firstMs, waitMsMax));
      say(`${name} is started again in ${waitMs} ms; the others continue.`);
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        await crash.restart();
        ends.set(name, { count: count + 1, backAtMs: clock.monotonicMs() });
        return;
      } catch (error) {
        say(error instanceof Error ? error.message : String(error));
      }
    }
  };

  return (crash) => {
    say(`\n${crash.message}`);
    if (afterMs === undefined) say(`${crash.name} stays away (--restart-after never); the others continue.`);
    else void bringBack(crash, afterMs);
  };
};
