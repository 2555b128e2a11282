import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { playInProcesses } from './runs/play-pool.ts';
import type { PlayTask, Result } from './runs/play-process.ts';
import { emptySummary, meansLine, violationText, withResult } from './runs/run-summary.ts';

/** The histories that every run plays. */
const FIXED_SEEDS = Array.from({ length: 40 }, (_, n) => n + 1);

/** Histories that found a bug, and no fixed one does. */
const KEPT_SEEDS = [
  // A host missed a loss, and its recall left the set out: a newer message of it was not stored yet.
  306,
  // The outage of one disk host ended with that of another, because a refused start names no host.
  3_105_383_969,
  // A host missed that an identity was deleted, called as it once more after the next one had access, and showed that as the loss.
  3_547_709_544,
];

/** Ends a test that hangs. An idle machine takes seconds; a busy one takes ten seconds for each history. */
const limit = { timeout: 1_800_000 };

test(
  'G1 G2 G3 G4 G5 G6 G7 G8 G9 G10: no guarantee is broken in forty fixed histories, those kept, and one with a new seed',
  limit,
  async (context) => {
    const fresh = randomInt(2 ** 32);
    const seeds = [fresh, ...FIXED_SEEDS, ...KEPT_SEEDS];
    const played = seeds.length;
    let summary = emptySummary;
    await playInProcesses<PlayTask, Result>({
      script: new URL('./runs/play-process.ts', import.meta.url),
      workers: 2,
      task: { untilAction: undefined, diskHosts: undefined, vmHosts: undefined },
      nextSeed: () => seeds.shift(),
      played: (result) => {
        summary = withResult(summary, result);
      },
    });
    context.diagnostic(`fresh seed ${fresh}; ${meansLine(summary)}`);
    assert.equal(summary.violations.map((one) => violationText(one)).join('\n\n'), '', `fresh seed ${fresh}`);
    assert.equal(summary.histories, played);
    // Minimum size of a history that can prove anything.
    const mean = (sum: number): number => sum / summary.histories;
    assert.ok(mean(summary.machines) >= 10, meansLine(summary));
    assert.ok(mean(summary.actions) >= 200, meansLine(summary));
    assert.ok(mean(summary.faultKinds) >= 3, meansLine(summary));
    assert.ok(mean(summary.revocations) >= 1 && mean(summary.returns) >= 1, meansLine(summary));
  },
);
