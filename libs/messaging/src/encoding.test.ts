import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { encoder } from './encoding.ts';

const batch = (source: string): FactBatch => FactBatch.fromPartial({ source, lastPosition: 7 });

test('messages come out as they do one by one, also after a longer one and after one that failed', () => {
  const encode = encoder(FactBatch);
  const long = encode(batch('x'.repeat(5_000)));
  for (const one of [batch('a'), batch(''), batch('ü'.repeat(40))]) {
    assert.deepEqual(encode(one), FactBatch.encode(one).finish());
    const broken = { ...one, facts: [null] } as unknown as FactBatch;
    assert.throws(() => encode(broken), TypeError);
    assert.deepEqual(encode(one), FactBatch.encode(one).finish());
  }
  assert.deepEqual(long, FactBatch.encode(batch('x'.repeat(5_000))).finish(), 'an answer is nobody else’s buffer');
});
