import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { encoder } from './encoding.ts';

const batch = (source: string): FactBatch => FactBatch.fromPartial({ source, lastPosition: 7 });

test('a reused encoder gives the same bytes as a new one, also after a longer or failed message', () => {
  const encode = encoder(FactBatch);
  const long = encode(batch('x'.repeat(5_000)));
  for (const one of [batch('a'), batch(''), batch('ü'.repeat(40))]) {
    assert.deepEqual(encode(one), FactBatch.encode(one).finish());
    const broken = { ...one, facts: [null] } as unknown as FactBatch;
    assert.throws(() => encode(broken), TypeError);
    assert.deepEqual(encode(one), FactBatch.encode(one).finish());
  }
  assert.deepEqual(long, FactBatch.encode(batch('x'.repeat(5_000))).finish(), 'a result has its own buffer');
});

test('the encoder writes texts of every length and script as the library does', () => {
  const encode = encoder(FactBatch);
  const texts = ['x', 'ü', '€', '😀', '\ud800'].flatMap((character) =>
    [1, 31, 32, 33, 63, 64, 85, 86, 127, 128, 129, 255, 256, 257, 800].map((length) => character.repeat(length)),
  );
  for (const text of [...texts, ...texts.map((one) => `name/${one}`)]) {
    assert.deepEqual(
      encode(batch(text)),
      FactBatch.encode(batch(text)).finish(),
      `${text.slice(0, 6)}, ${text.length}`,
    );
  }
});
