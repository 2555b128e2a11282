import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KeyEvent, KeyOperation } from './events.ts';
import { evolve, initial, type Key, versionOf } from './key.ts';
import { dateObstacle } from './usability.ts';

const version = 'a'.repeat(32);
const operations = fc.subarray<KeyOperation>(['encrypt', 'decrypt', 'sign', 'verify', 'wrapKey', 'unwrapKey']);
const date = fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined });
const dates = fc.record({ notBefore: date, expiresAt: date }).map(({ notBefore, expiresAt }) => ({
  ...(notBefore === undefined ? {} : { notBefore }),
  ...(expiresAt === undefined ? {} : { expiresAt }),
}));
const anyChange = fc.oneof(
  fc.constant({ type: 'KeyVersionEnabled', version } as const),
  fc.constant({ type: 'KeyVersionDisabled', version } as const),
  dates.map((window) => ({ type: 'KeyVersionDatesSet', version, ...window }) as const),
  operations.map((allowed) => ({ type: 'KeyOperationsSet', version, operations: allowed }) as const),
);
const material = { version, materialId: 'm', bits: 2048, n: 'n', e: 'e', origin: 'generated', tags: {} } as const;
const history = fc
  .record({ enabled: fc.boolean(), allowed: operations, window: dates, changes: fc.array(anyChange, { maxLength: 8 }) })
  .map(({ enabled, allowed, window, changes }): readonly KeyEvent[] => [
    {
      type: 'KeyVersionCreated',
      requestId: 'r',
      digest: 'd',
      ...material,
      enabled,
      ...window,
      operations: allowed,
      at: 1,
    },
    ...changes.map((change, index): KeyEvent => ({ ...change, at: index + 2 })),
  ]);

/** Each state of a history: the key after its first event, after its second, … */
const statesOf = (events: readonly KeyEvent[]): readonly Key[] => {
  const states: Key[] = [];
  for (const [index, event] of events.entries()) states.push(evolve(states.at(-1) ?? initial, event, index + 1));
  return states;
};

test('G10: a version records the event that ended access for each reason that applies', () => {
  fc.assert(
    fc.property(history, (events) => {
      for (const [index, key] of statesOf(events).entries()) {
        const found = versionOf(key, version);
        assert.ok(found);
        const now = index + 1;
        const { ends } = found;
        assert.equal(ends.disabled !== undefined, !found.enabled);
        assert.deepEqual(
          Object.keys(ends.withheld).filter((one) => found.operations.includes(one as KeyOperation)),
          [],
        );
        const last = events[index];
        if (last?.type === 'KeyVersionDatesSet' || last?.type === 'KeyVersionCreated') {
          const reason = dateObstacle(found, now)?.reason;
          assert.equal(reason === 'KEY_NOT_YET_VALID' ? ends.notYetValid !== undefined : true, true);
          assert.equal(reason === 'KEY_EXPIRED' ? ends.expired !== undefined : true, true);
        }
      }
    }),
  );
});

test('G10: while a version is disabled or an operation is withheld, later changes keep the recorded event', () => {
  fc.assert(
    fc.property(history, (events) => {
      const states = statesOf(events).map((key) => versionOf(key, version)?.ends);
      for (const [index, after] of states.entries()) {
        const before = states[index - 1];
        if (before?.disabled && after?.disabled && events[index]?.type !== 'KeyVersionDisabled')
          assert.deepEqual(after.disabled, before.disabled);
        for (const one of Object.keys(before?.withheld ?? {}) as KeyOperation[])
          if (after?.withheld[one]) assert.deepEqual(after.withheld[one], before?.withheld[one]);
      }
    }),
  );
});
