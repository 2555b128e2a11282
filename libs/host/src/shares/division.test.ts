import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Division, leftBy, noDivision, sharesOf, surplusOf, wordOf } from './division.ts';

const shares = [
  ...Array.from({ length: 16 }, (_, n) => `machines/${n}`),
  'facts of key-vault/0',
  'facts of key-vault/1',
];
const nobody = new Set<string>();

const word = (
  before: Division,
  me: string,
  also: {
    silent?: string[];
    givenUp?: readonly string[];
    ended?: string[];
    run?: string;
    stoodBy?: boolean;
    standbyName?: string;
    now?: number;
  } = {},
): Division =>
  wordOf(before, {
    me,
    run: also.run ?? `run of ${me}`,
    beat: 1,
    ttlMs: 3_000,
    shares,
    silent: new Set([...(also.silent ?? []), ...(also.ended ?? [])]),
    ended: new Set(also.ended),
    stoodBy: also.stoodBy ?? false,
    standbyName: also.standbyName,
    givenUp: new Set(also.givenUp),
    now: also.now ?? 0,
  });

/** Each says its word in turn, giving up at once what is too much, until nothing changes any more. */
const settled = (before: Division, members: readonly string[], silent: string[] = []): Division => {
  let division = before;
  for (let round = 0; round < 4; round += 1) {
    for (const me of members) division = word(division, me, { silent, givenUp: surplusOf(division, me, shares) });
  }
  return division;
};

test('one replica has everything; each further one gets its part of each kind', () => {
  const alone = word(noDivision, 'a');
  assert.deepEqual(sharesOf(alone, 'a'), [...shares].sort());
  const two = settled(alone, ['a', 'b']);
  for (const me of ['a', 'b']) {
    assert.equal(sharesOf(two, me).filter((share) => share.startsWith('machines/')).length, 8);
    assert.equal(sharesOf(two, me).filter((share) => share.startsWith('facts')).length, 1);
  }
  assert.deepEqual(settled(two, ['a', 'b']).owners, two.owners, 'nothing moves any more');
});

test('what one replica alone can have stays with it, whatever the names of those who join', () => {
  const one = ['relay/0'];
  const say = (before: Division, me: string) =>
    wordOf(before, { me, run: me, beat: 1, ttlMs: 3_000, shares: one, silent: nobody, givenUp: nobody, now: 0 });
  const joined = say(say(say(noDivision, 'b'), 'a'), 'c');
  assert.deepEqual(sharesOf(joined, 'b'), one);
  assert.deepEqual(surplusOf(joined, 'b', one), []);
  assert.deepEqual(sharesOf(say(leftBy(joined, 'b'), 'a'), 'a'), one);
});

test('what does not come out even stays with whoever has it, until somebody has two less', () => {
  const nine = Array.from({ length: 9 }, (_, n) => `machines/${n}`);
  const member = (...kinds: readonly string[]) => ({ run: 'r', beat: 1, ttlMs: 3_000, kinds, at: 0 });
  /** The first by name would have one more; so many are the other's. */
  const ofOther = (count: number): Division => ({
    members: { a: member('machines'), z: member('machines'), other: member('relay') },
    owners: Object.fromEntries(nine.map((share, n) => [share, n < count ? 'z' : 'a'])),
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

test('nothing is taken from a replica that lives: it keeps what it has until it gives it up', () => {
  const alone = word(noDivision, 'a');
  const joined = word(alone, 'b');
  assert.deepEqual(sharesOf(joined, 'b'), []);
  assert.deepEqual(sharesOf(joined, 'a'), sharesOf(alone, 'a'));
  assert.equal(surplusOf(joined, 'a', shares).length, 9);
});

test('what a silent replica had, and what one that left had, the others take', () => {
  const two = settled(word(noDivision, 'a'), ['a', 'b']);
  assert.equal(sharesOf(word(two, 'b', { silent: ['a'] }), 'b').length, shares.length);
  assert.equal(sharesOf(word(leftBy(two, 'a'), 'b'), 'b').length, shares.length);
});

test('a replica of another release takes part in the kinds it knows', () => {
  const old = wordOf(noDivision, {
    me: 'old',
    run: 'r',
    beat: 1,
    ttlMs: 3_000,
    shares: ['facts of key-vault/0', 'facts of key-vault/1'],
    silent: nobody,
    givenUp: nobody,
    now: 0,
  });
  const both = word(old, 'new');
  assert.equal(sharesOf(both, 'new').filter((share) => share.startsWith('machines/')).length, 16);
});

test('who fell silent without leaving is gone until it is back or somebody new has come in its place', () => {
  const two = settled(word(noDivision, 'a'), ['a', 'b']);
  assert.deepEqual(word(leftBy(two, 'b'), 'a').gone, {}, 'who leaves is not missed');
  assert.deepEqual(word(two, 'a', { silent: ['b'] }).gone, {}, 'nor is who was silent from the beginning');
  const one = word(two, 'a', { ended: ['b'], now: 7 });
  assert.deepEqual(one.gone, { b: 7 });
  assert.deepEqual(word(one, 'a', { now: 8 }).gone, { b: 7 });
  assert.deepEqual(leftBy(word(one, 'a'), 'a').gone, { b: 7 }, 'whoever else leaves');
  assert.deepEqual(word(one, 'b').gone, {});
  assert.deepEqual(word(one, 'c').gone, {});
  assert.deepEqual(word(one, 'a', { now: 86_400_008 }).gone, {}, 'after a day');
  const none = word({ ...one, gone: { b: 7, d: 5 } }, 'c');
  assert.deepEqual(none.gone, { b: 7 }, 'the one that is gone longest is replaced first');
});

test('a standby that begins to work takes the place of one that has ended, and is missed as a standby', () => {
  const before = word(noDivision, 'disk', { run: '12345678-9' });
  assert.deepEqual(word(before, 'disk', { run: 'other', stoodBy: true, now: 7 }).gone, { 'disk-12345678': 7 });
  assert.deepEqual(word(before, 'disk', { run: 'other', now: 7 }).gone, {}, 'a process that was started for it is it');
  assert.deepEqual(word(leftBy(before, 'disk'), 'disk', { run: 'other', stoodBy: true }).gone, {}, 'it had left');
  const other: Division = { ...noDivision, gone: { x: 7 } };
  assert.deepEqual(word(other, 'disk', { stoodBy: true }).gone, { x: 7 }, 'and it is no new one');
});

test('whoever was replaced is missed by the name it stands by under, and not where it is back under that', () => {
  const working = word(noDivision, 'disk', { run: 'first', standbyName: 'disk-0' });
  const second = { run: 'second', stoodBy: true, standbyName: 'disk-1', now: 7 };
  const taken = word(working, 'disk', second);
  assert.deepEqual(taken.gone, { 'disk-0': 7 });
  assert.deepEqual(word(taken, 'disk-0').gone, {}, 'it stands by again');
  assert.deepEqual(
    word(taken, 'disk', { standbyName: 'disk-0' }).gone,
    {},
    'or works again without having had to wait',
  );
  assert.deepEqual(
    word(word(working, 'disk-0'), 'disk', second).gone,
    {},
    'it was back before the other began to work',
  );
  assert.deepEqual(
    word(word(working, 'disk-0'), 'disk', { ...second, silent: ['disk-0'] }).gone,
    { 'disk-0': 7 },
    'nor is it back that is silent again',
  );
  const again = { ...second, run: 'first again', standbyName: 'disk-0' };
  assert.deepEqual(word(working, 'disk', again).gone, {}, 'it is the same one, which had to wait for its own lock');
});

test('G7: whoever comes and goes, each share ends with exactly one of those who are there', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom(...names), fc.constantFrom('joins', 'leaves', 'dies'))),
      (history) => {
        let division = noDivision;
        let there = new Set(['z']);
        for (const [name, does] of history) {
          if (does === 'joins') there.add(name);
          else there.delete(name);
          if (does === 'leaves') division = leftBy(division, name);
          // Somebody speaks in between, and knows of the death or not yet.
          division = word(division, 'z', { silent: does === 'dies' ? [name] : [] });
        }
        there = new Set([...there, 'z']);
        const silent = names.filter((name) => !there.has(name));
        const end = settled(division, [...there], silent);
        assert.deepEqual(Object.keys(end.owners).sort(), [...shares].sort());
        const counts = [...there].map(
          (me) => sharesOf(end, me).filter((share) => share.startsWith('machines/')).length,
        );
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
      },
    ),
  );
});
