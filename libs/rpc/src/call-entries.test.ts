import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata } from 'nice-grpc-common';
import { CallEntries } from './call-entries.ts';

/** Outcome of the same work on nice-grpc's metadata and on ours. */
const both = (work: (metadata: Metadata) => unknown): readonly [unknown, unknown] => {
  const outcome = (metadata: Metadata): unknown => {
    try {
      return [work(metadata), [...metadata]];
    } catch (error) {
      return String(error);
    }
  };
  const given = () => Metadata({ 'x-own': 'a', 'x-raw-bin': new Uint8Array([1]) });
  return [outcome(given()), outcome(new CallEntries(given()))];
};

for (const [what, work] of [
  ['an entry is found by its key in any letter case', (m) => [m.get('X-Own'), m.get('x-raw-bin'), m.has('x-OWN')]],
  ['a missing entry is undefined', (m) => [m.get('x-none'), m.getAll('x-none'), m.has('x-none')]],
  ['a set value replaces the earlier one', (m) => m.set('X-own', 'b').getAll('x-own')],
  ['several values of one key are joined', (m) => m.set('x-own', ['b', 'c']).append('x-own', 'd').getAll('x-own')],
  [
    'several binary values of one key stay separate',
    (m) => m.append('x-raw-bin', new Uint8Array([2])).getAll('x-raw-bin'),
  ],
  ['an empty list of values removes the entry', (m) => m.set('x-own', []).has('x-own')],
  ['an entry is deleted', (m) => m.delete('X-Own')],
  ['a key with invalid characters is refused', (m) => [...m.set('x own', 'a')]],
  ['a value that cannot be sent is refused', (m) => [...m.set('x-own', 'a\nb')]],
  ['bytes under a key for text are refused', (m) => [...m.set('x-own', new Uint8Array([1]) as never)]],
  ['text under a key for bytes is refused', (m) => [...m.append('x-raw-bin', 'a' as never)]],
] satisfies readonly (readonly [string, (metadata: Metadata) => unknown])[]) {
  test(`call metadata behaves as nice-grpc's: ${what}`, () => {
    const [theirs, ours] = both(work);
    assert.deepEqual(ours, theirs);
  });
}

test('an entry that is put into call metadata does not change the metadata of the caller', () => {
  const given = Metadata({ 'x-own': 'a' });
  const entries = new CallEntries(given);
  entries.put('authorization', 'Bearer t');
  assert.deepEqual(
    [...entries],
    [
      ['x-own', ['a']],
      ['authorization', ['Bearer t']],
    ],
  );
  assert.deepEqual([...given], [['x-own', ['a']]]);
});
