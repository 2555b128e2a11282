import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RunRecord } from '../record.ts';
import { changeMachine, verdictOf } from './test-record.ts';

test('missing evidence never makes a violated run `held`', () => {
  const neverStopped = changeMachine('premium-2', ({ power }) => ({ power: power.slice(0, 1) }));
  const part = fc.constantFrom('steps', 'machines', 'io', 'sightings', 'guarantees', 'power' as const);
  fc.assert(
    fc.property(fc.array(fc.tuple(part, fc.nat(), fc.nat(60)), { maxLength: 4 }), (cuts) => {
      const verdict = verdictOf((record) => cuts.reduce(without, { ...record, ...neverStopped(record) }));
      assert.notEqual(verdict.outcome, 'held', JSON.stringify(cuts));
      assert.ok(verdict.because !== '');
    }),
  );
});

/** The record without some entries of one of its lists. */
const without = (record: RunRecord, [part, from, count]: readonly [string, number, number]): RunRecord => {
  const cut = <Entry>(list: readonly Entry[]): readonly Entry[] =>
    list.toSpliced(list.length === 0 ? 0 : from % list.length, count + 1);
  if (part === 'power')
    return { ...record, machines: record.machines.map((one) => ({ ...one, power: cut(one.power) })) };
  return { ...record, [part]: cut(Reflect.get(record, part)) };
};
