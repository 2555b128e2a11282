import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata } from 'nice-grpc-common';
import { CallEntries } from './call-entries.ts';

/** Does the same to nice-grpc's metadata and to ours. */
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
  ['what was given is there, by a key in any case', (m) => [m.get('X-Own'), m.get('x-raw-bin'), m.has('x-OWN')]],
  ['what is not there is not', (m) => [m.get('x-none'), m.getAll('x-none'), m.has('x-none')]],
  ['a value takes the place of another', (m) => m.set('X-own', 'b').getAll('x-own')],
  ['several values of one key are joined', (m) => m.set('x-own', ['b', 'c']).append('x-own', 'd').getAll('x-own')],
  ['several bytes are kept apart', (m) => m.append('x-raw-bin', new Uint8Array([2])).getAll('x-raw-bin')],
  ['no value at all is no entry', (m) => m.set('x-own', []).has('x-own')],
  ['an entry goes', (m) => m.delete('X-Own')],
  ['a key with other letters is refused', (m) => [...m.set('x own', 'a')]],
  ['a value that cannot be sent is refused', (m) => [...m.set('x-own', 'a\nb')]],
  ['bytes under a key for text are refused', (m) => [...m.set('x-own', new Uint8Array([1]) as never)]],
  ['text under a key for bytes is refused', (m) => [...m.append('x-raw-bin', 'a' as never)]],
] satisfies readonly (readonly [string, (metadata: Metadata) => unknown])[]) {
  test(`metadata of a call: ${what}, as nice-grpc has it`, () => {
    const [theirs, ours] = both(work);
    assert.deepEqual(ours, theirs);
  });
}

test('metadata of a call: what the caller gave is not changed by what is put beside it', () => {
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
