import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { judgeRecording } from '@interlock/lab/judge/recording/judge-recording';
import type { Cause, CauseName } from './causes.ts';
import { openPlace, type Place, type PlaceTerms } from './place.ts';
import { cellsOf } from './table.ts';
import { tryCause, type Verdicts } from './trial.ts';

/** A lease that must be renewed during a test to keep machines running, and that ends before the check if it was not. */
export const renewedLeases = { ttlMs: 8_000, ioPauseTimeoutMs: 1_000, unreachableGraceMs: 600_000 };

/** Causes played at the same time: each waits more than it computes. */
const atOnce = 2;

/** Tests that play these causes in one place, each with its own fleet, with a test for each cell. */
export const testCauses = (causes: readonly (Cause & { readonly name: CauseName })[], terms: PlaceTerms = {}): void => {
  let place: Place;
  const trials = new Map<CauseName, Promise<Verdicts>>();
  before(async () => {
    place = await openPlace(terms);
    // The first cause of each lane starts at once, every other one when the previous one of its lane has ended.
    const lanes: Promise<unknown>[] = [];
    for (const [n, cause] of causes.entries()) {
      const trial = (lanes[n % atOnce] ?? Promise.resolve()).then(() => tryCause(place, cause));
      trials.set(cause.name, trial);
      lanes[n % atOnce] = Promise.allSettled([trial]);
    }
  });
  after(async () => {
    await Promise.allSettled(trials.values());
    await place.close();
  });
  // The other effects are not losses in the events: outages, limits of the vault, and expiries that stop nothing.
  if (causes.every(({ effect }) => effect === 'loss')) {
    test(`G2, G3, G4, G10, CMK-100: the oracle agrees with every event of ${causes.map(({ name }) => name).join(', ')}`, async (t) => {
      await Promise.allSettled(trials.values());
      const verdicts = judgeRecording(await place.recording());
      const rules = new Set(verdicts.map(({ rule }) => rule));
      t.diagnostic(`${verdicts.length} verdicts of ${[...rules].join(', ')}`);
      assert.deepEqual(
        verdicts.filter(({ holds }) => !holds),
        [],
      );
      assert.ok(rules.has('CMK-100') && rules.has('CMK-106'));
    });
  }
  for (const cause of causes) {
    describe(`truth: ${cause.name}`, () => {
      let verdicts: Verdicts;
      before(async () => {
        verdicts = (await trials.get(cause.name)) ?? new Map();
      });
      for (const { rule, diskClass, state, expected } of cellsOf(cause)) {
        test(`${rule} truth: ${cause.name} × ${diskClass} × ${state}`, () => {
          const found = [...verdicts].find(([cell]) => cell.diskClass === diskClass && cell.state === state);
          // After two losses in a row, a failed creation names the newest loss that compute has received by then.
          const isEither = state === 'being created' && expected.answer === cause.stopReason;
          const isNewer = isEither && found?.[1].answer === cause.reason;
          assert.deepEqual(found?.[1], isNewer ? { ...expected, answer: cause.reason } : expected);
        });
      }
    });
  }
};
