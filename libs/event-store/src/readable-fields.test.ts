import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ReadableFields, readableData } from './readable-fields.ts';

type LampEvent =
  | {
      readonly type: 'LampBought';
      readonly colour: string;
      readonly key: { readonly id: string; readonly bytes: string };
    }
  | { readonly type: 'LampOpened'; readonly tokenHash: string };

test('G6: event fields that are not listed as readable are withheld, and their names are reported', () => {
  const fields: ReadableFields<LampEvent> = ['colour', 'key.id'];
  assert.deepEqual(readableData({ colour: 'red', key: { id: 'k', bytes: 'c2VjcmV0' }, tokenHash: 'aGFzaA' }, fields), {
    data: { colour: 'red', key: { id: 'k' } },
    withheld: ['key.bytes', 'tokenHash'],
  });
  // @ts-expect-error: no event has it
  const wrong: ReadableFields<LampEvent> = ['color'];
  assert.deepEqual(readableData({ colour: 'red' }, wrong), { data: {}, withheld: ['colour'] });
});

test('a readable field of an object does not reveal a text or a list in place of that object', () => {
  assert.deepEqual(readableData({ key: 'secret', other: ['secret'] }, ['key.id', 'other.id']), {
    data: {},
    withheld: ['key', 'other'],
  });
});
