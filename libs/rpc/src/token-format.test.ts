import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rs256 } from './token-format.ts';

test('G8: opening a signing key leaves no copy of its bytes after they are overwritten', async (t) => {
  const { pkcs8 } = await rs256.newKey();
  const plain = Uint8Array.from(pkcs8);
  const made: Uint8Array[] = [];
  const from = Buffer.from;
  const watched = t.mock.method(Buffer, 'from', (...given: unknown[]) => {
    const bytes: Buffer = Reflect.apply(from, Buffer, given);
    if (Buffer.compare(bytes, plain) === 0) made.push(bytes);
    return bytes;
  });
  rs256.openKey(pkcs8);
  watched.mock.restore();
  pkcs8.fill(0);
  for (const bytes of made) assert.ok(bytes.every((byte) => byte === 0));
});
