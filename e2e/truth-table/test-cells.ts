import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { judgeRecording } from '@interlock/lab/judge/recording/judge-recording';
import type { Effect, TableCause, TableCauseName } from './causes.ts';
import { openPlace, type Place, type PlaceTerms } from './place.ts';
import { cellsOf } from './table.ts';
import { type OpenTarget, realTarget, simulatedTarget } from './target.ts';
import { tryCause, type Verdicts } from './trial.ts';

/** A lease that must be renewed during a test to keep machines running, and that ends before the check if it was not. */
const renewedLeases = { ttlMs: 8_000, ioPauseTimeoutMs: 1_000, unreachableGraceMs: 600_000 };

/** So short that an unreachable vault counts as lost within the test, and long enough that a busy machine renews them in time. */
const shortLeases = { ttlMs: 4_000, ioPauseTimeoutMs: 1_000, unreachableGraceMs: 2_000 };

const termsOf: Readonly<Record<Effect, PlaceTerms>> = {
  loss: {},
  'start only': { leases: renewedLeases },
  outage: { leases: shortLeases, startTimeoutMs: 15_000 },
  throttle: { leases: renewedLeases, startTimeoutMs: 15_000 },
};

/** Plays these causes on what the simulation runs on: every combination of the table, in virtual time. */
export const testCauses = (causes: readonly TableCause[]): void => testEffects(causes, simulatedTarget, '');

/** Plays these causes on Postgres, NATS, RSA and files. */
export const testCausesOnServers = (causes: readonly TableCause[]): void =>
  testEffects(causes, realTarget, ', on real servers');

/** One place for each effect, one after the other. */
const testEffects = (causes: readonly TableCause[], openTarget: OpenTarget, where: string): void => {
  for (const [effect, terms] of Object.entries(termsOf)) {
    const having = causes.filter((cause) => cause.effect === effect);
    if (having.length > 0) describe(`${effect}${where}`, () => testInPlace(having, openTarget, terms));
  }
};

/** Causes played at the same time: each waits more than it computes. */
const atOnce = 2;

/** Tests that play these causes in one place, each with its own fleet, with a test for each cell. */
const testInPlace = (causes: readonly TableCause[], openTarget: OpenTarget, terms: PlaceTerms): void => {
  let place: Place;
  const trials = new Map<TableCauseName, Promise<Verdicts>>();
  before(async () => {
    place = await openPlace(terms, openTarget);
    // The first cause of each lane starts at once, every other one when the previous one of its lane has ended.
    const lanes: Promise<unknown>[] = [];
    for (const [n, cause] of causes.entries()) {
      const trial = (lanes[n % atOnce] ?? Promise.resolve()).then(() => place.run(() => tryCause(place, cause)));
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
