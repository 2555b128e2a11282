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

const word = (before: Division, me: string, also: { silent?: string[]; givenUp?: readonly string[] } = {}): Division =>
  wordOf(before, {
    me,
    run: `run of ${me}`,
    beat: 1,
    ttlMs: 3_000,
    shares,
    silent: new Set(also.silent),
    givenUp: new Set(also.givenUp),
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
    wordOf(before, { me, run: me, beat: 1, ttlMs: 3_000, shares: one, silent: new Set(), givenUp: new Set() });
  const joined = say(say(say(noDivision, 'b'), 'a'), 'c');
  assert.deepEqual(sharesOf(joined, 'b'), one);
  assert.deepEqual(surplusOf(joined, 'b', one), []);
  assert.deepEqual(sharesOf(say(leftBy(joined, 'b'), 'a'), 'a'), one);
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
  });
  const both = word(old, 'new');
  assert.equal(sharesOf(both, 'new').filter((share) => share.startsWith('machines/')).length, 16);
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
