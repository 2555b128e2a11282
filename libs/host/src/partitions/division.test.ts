import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Division, emptyDivision, partitionsOf, surplusOf, withHeartbeat, withoutMember } from './division.ts';

const partitions = [
  ...Array.from({ length: 16 }, (_, n) => `machines/${n}`),
  'facts of key-vault/0',
  'facts of key-vault/1',
];
const none = new Set<string>();

const beat = (
  before: Division,
  me: string,
  also: {
    silent?: string[];
    released?: readonly string[];
    ended?: string[];
    run?: string;
    now?: number;
  } = {},
): Division =>
  withHeartbeat(before, {
    me,
    run: also.run ?? `run of ${me}`,
    beat: 1,
    ttlMs: 3_000,
    partitions,
    silent: new Set([...(also.silent ?? []), ...(also.ended ?? [])]),
    ended: new Set(also.ended),
    released: new Set(also.released),
    now: also.now ?? 0,
  });

/** Members send heartbeats in turn, and release their surplus, until nothing changes any more. */
const settled = (before: Division, members: readonly string[], silent: string[] = []): Division => {
  let division = before;
  for (let round = 0; round < 4; round += 1) {
    for (const me of members) division = beat(division, me, { silent, released: surplusOf(division, me, partitions) });
  }
  return division;
};

test('a single replica owns everything; a second one gets half of each kind', () => {
  const alone = beat(emptyDivision, 'a');
  assert.deepEqual(partitionsOf(alone, 'a'), [...partitions].sort());
  const two = settled(alone, ['a', 'b']);
  for (const me of ['a', 'b']) {
    assert.equal(partitionsOf(two, me).filter((partition) => partition.startsWith('machines/')).length, 8);
    assert.equal(partitionsOf(two, me).filter((partition) => partition.startsWith('facts')).length, 1);
  }
  assert.deepEqual(settled(two, ['a', 'b']).owners, two.owners, 'nothing moves any more');
});

test('a single partition of a kind stays with its owner when others join', () => {
  const one = ['relay/0'];
  const say = (before: Division, me: string) =>
    withHeartbeat(before, {
      me,
      run: me,
      beat: 1,
      ttlMs: 3_000,
      partitions: one,
      silent: none,
      released: none,
      now: 0,
    });
  const joined = say(say(say(emptyDivision, 'b'), 'a'), 'c');
  assert.deepEqual(partitionsOf(joined, 'b'), one);
  assert.deepEqual(surplusOf(joined, 'b', one), []);
  assert.deepEqual(partitionsOf(say(withoutMember(joined, 'b'), 'a'), 'a'), one);
});

test('a remainder stays with its owner until another member has two partitions less', () => {
  const nine = Array.from({ length: 9 }, (_, n) => `machines/${n}`);
  const member = (...kinds: readonly string[]) => ({ run: 'r', beat: 1, ttlMs: 3_000, kinds, at: 0 });
  /** `z` owns `count` partitions, `a` the others. By name, `a` would be the one with the remainder. */
  const ofOther = (count: number): Division => ({
    members: { a: member('machines'), z: member('machines'), other: member('relay') },
    owners: Object.fromEntries(nine.map((partition, n) => [partition, n < count ? 'z' : 'a'])),
    gone: {},
  });
  for (const even of [4, 5]) {
    for (const me of ['a', 'z']) assert.deepEqual(surplusOf(ofOther(even), me, nine), [], `${even} ${me}`);
  }
  assert.equal(surplusOf(ofOther(6), 'z', nine).length, 2);
  assert.deepEqual(surplusOf(ofOther(6), 'a', nine), []);
  assert.equal(surplusOf(ofOther(3), 'a', nine).length, 1);
  assert.deepEqual(surplusOf(ofOther(9), 'other', nine), []);
});

test('a live replica keeps its partitions until it releases them', () => {
  const alone = beat(emptyDivision, 'a');
  const joined = beat(alone, 'b');
  assert.deepEqual(partitionsOf(joined, 'b'), []);
  assert.deepEqual(partitionsOf(joined, 'a'), partitionsOf(alone, 'a'));
  assert.equal(surplusOf(joined, 'a', partitions).length, 9);
});

test('the others take the partitions of a silent replica, and of one that left', () => {
  const two = settled(beat(emptyDivision, 'a'), ['a', 'b']);
  assert.equal(partitionsOf(beat(two, 'b', { silent: ['a'] }), 'b').length, partitions.length);
  assert.equal(partitionsOf(beat(withoutMember(two, 'a'), 'b'), 'b').length, partitions.length);
});

test('a replica of another release takes part in the kinds it knows', () => {
  const old = withHeartbeat(emptyDivision, {
    me: 'old',
    run: 'r',
    beat: 1,
    ttlMs: 3_000,
    partitions: ['facts of key-vault/0', 'facts of key-vault/1'],
    silent: none,
    released: none,
    now: 0,
  });
  const both = beat(old, 'new');
  assert.equal(partitionsOf(both, 'new').filter((partition) => partition.startsWith('machines/')).length, 16);
});

test('a member that became silent without leaving is gone until it is back or replaced', () => {
  const two = settled(beat(emptyDivision, 'a'), ['a', 'b']);
  assert.deepEqual(beat(withoutMember(two, 'b'), 'a').gone, {}, 'a member that leaves is not gone');
  assert.deepEqual(beat(two, 'a', { silent: ['b'] }).gone, {}, 'nor is one that was silent from the start');
  const one = beat(two, 'a', { ended: ['b'], now: 7 });
  assert.deepEqual(one.gone, { b: 7 });
  assert.deepEqual(beat(one, 'a', { now: 8 }).gone, { b: 7 });
  assert.deepEqual(withoutMember(beat(one, 'a'), 'a').gone, { b: 7 }, 'after another member leaves');
  assert.deepEqual(beat(one, 'b').gone, {});
  assert.deepEqual(beat(one, 'c').gone, {});
  assert.deepEqual(beat(one, 'a', { now: 86_400_008 }).gone, {}, 'after a day');
  const none = beat({ ...one, gone: { b: 7, d: 5 } }, 'c');
  assert.deepEqual(none.gone, { b: 7 }, 'the one that is gone longest is replaced first');
});

test('G7: after any joins and leaves each partition has exactly one owner among the members', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...names), fc.constantFrom('joins', 'leaves', 'dies'))),
      (history) => {
        let division = emptyDivision;
        let there = new Set(['z']);
        for (const [name, does] of history) {
          if (does === 'joins') there.add(name);
          else there.delete(name);
          if (does === 'leaves') division = withoutMember(division, name);
          // Another member sends a heartbeat in between, and knows of the death or not yet.
          division = beat(division, 'z', { silent: does === 'dies' ? [name] : [] });
        }
        there = new Set([...there, 'z']);
        const silent = names.filter((name) => !there.has(name));
        const end = settled(division, [...there], silent);
        assert.deepEqual(Object.keys(end.owners).sort(), [...partitions].sort());
        const counts = [...there].map(
          (me) => partitionsOf(end, me).filter((partition) => partition.startsWith('machines/')).length,
        );
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
      },
    ),
  );
});
