import assert from 'node:assert/strict';
import { test } from 'node:test';
import { playInProcesses } from './runs/play-pool.ts';
import type { PlayTask, Result } from './runs/play-process.ts';
import { emptySummary, meansLine, violationText, withResult } from './runs/run-summary.ts';

/** Ends a test that hangs. An idle machine takes seconds; a busy one takes ten seconds for each history. */
const limit = { timeout: 1_800_000 };

/** Defines a test that plays one history for each seed, and fails if a guarantee is broken or the histories are too small. */
export const testHistories = (name: string, seeds: readonly number[]): void => {
  test(`G1 G2 G3 G4 G5 G6 G7 G8 G9 G10: no guarantee is broken in ${name}`, limit, async (context) => {
    const left = [...seeds];
    let summary = emptySummary;
    await playInProcesses<PlayTask, Result>({
      script: new URL('./runs/play-process.ts', import.meta.url),
      workers: 2,
      task: { untilAction: undefined, diskHosts: undefined, vmHosts: undefined },
      nextSeed: () => left.shift(),
      played: (result) => {
        summary = withResult(summary, result);
      },
    });
    context.diagnostic(`seeds ${seeds.join(', ')}; ${meansLine(summary)}`);
    assert.equal(summary.violations.map((one) => violationText(one)).join('\n\n'), '', `seeds ${seeds.join(', ')}`);
    assert.equal(summary.histories, seeds.length);
    // Minimum size of a history that can prove anything; far enough below the mean that one small history does not decide.
    const mean = (sum: number): number => sum / summary.histories;
    assert.ok(mean(summary.machines) >= 8, meansLine(summary));
    assert.ok(mean(summary.actions) >= 200, meansLine(summary));
    assert.ok(mean(summary.faultKinds) >= 3, meansLine(summary));
    assert.ok(mean(summary.revocations) >= 1 && mean(summary.returns) >= 1, meansLine(summary));
  });
};

/** Seeds from `first` to `last`. */
export const seedsFrom = (first: number, last: number): readonly number[] =>
  Array.from({ length: last - first + 1 }, (_, n) => first + n);
