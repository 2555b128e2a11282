import type { SteadyCheck } from '../experiment.ts';
import type { Lab } from '../target.ts';

/** Longest wait for the steady state, and time between two checks, in milliseconds. */
export const steadyWithinMs = 60_000;
const lookEveryMs = 250;

/**
 * Waits until all checks hold at the same time.
 * @throws Error with the check that does not hold in time, and the reason
 */
export const untilSteady = async (
  lab: Pick<Lab, 'clock' | 'check'>,
  checks: readonly SteadyCheck[],
  signal: AbortSignal,
): Promise<void> => {
  const endMs = lab.clock.monotonicMs() + steadyWithinMs;
  for (;;) {
    const broken = await firstBroken(lab, checks);
    if (broken === undefined) return;
    if (signal.aborted) throw new Error('the run was interrupted');
    if (lab.clock.monotonicMs() >= endMs)
      throw new Error(`not steady after ${steadyWithinMs / 1_000} s: line ${broken.line}: ${broken.reason}`);
    await lab.clock.sleep(lookEveryMs, signal);
  }
};

const firstBroken = async (
  lab: Pick<Lab, 'check'>,
  checks: readonly SteadyCheck[],
): Promise<{ readonly line: number; readonly reason: string } | undefined> => {
  for (const check of checks) {
    const reason = await lab.check(check);
    if (reason !== undefined) return { line: check.line, reason };
  }
  return undefined;
};
