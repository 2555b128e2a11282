import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type ServerHttp2Stream } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { releaseSentMemory } from './sent-memory.ts';

releaseSentMemory();
releaseSentMemory();

/**
 * Makes one call to a server that answers with `answer`.
 * @param reads whether the client reads the response
 * @returns the bytes that it receives until the stream closes
 */
async function call(t: TestContext, answer: (stream: ServerHttp2Stream) => void, reads = true): Promise<Buffer> {
  const server = createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond();
    answer(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  const client = connect(`http://127.0.0.1:${address.port}`);
  t.after(() => {
    client.destroy();
    server.close();
  });
  const request = client.request();
  const received: Buffer[] = [];
  if (reads) request.on('data', (piece: Buffer) => received.push(piece));
  request.on('error', () => undefined);
  await new Promise((resolve) => request.once('close', resolve));
  return Buffer.concat(received);
}

/** Bytes that fill their whole ArrayBuffer, and a copy of them. */
function own(length: number): { readonly bytes: Buffer; readonly content: Buffer } {
  const bytes = Buffer.allocUnsafeSlow(length);
  bytes.set(randomBytes(length));
  return { bytes, content: Buffer.from(bytes) };
}

test('large buffers arrive complete, and their memory is released once they are sent', async (t) => {
  const pieces = Array.from({ length: 40 }, (_, n) => own(32_768 + 5_000 * n));
  const heldWhenWritten: number[] = [];
  const received = await call(t, (stream) => {
    for (const { bytes } of pieces) {
      stream.write(bytes, (error) => {
        assert.ifError(error);
        heldWhenWritten.push(bytes.byteLength);
      });
    }
    stream.end();
  });
  assert.deepEqual(received, Buffer.concat(pieces.map(({ content }) => content)));
  assert.deepEqual(
    heldWhenWritten,
    pieces.map(() => 0),
  );
});

test('shared and small buffers keep their memory after they are sent', async (t) => {
  const { bytes: shared, content } = own(100_000);
  const part = shared.subarray(10, 60_000);
  const { bytes: small } = own(1_000);
  const received = await call(t, (stream) => {
    stream.write(part);
    stream.write('between');
    stream.write('6265686e', 'hex');
    stream.write(small, () => stream.end());
  });
  assert.deepEqual(
    received,
    Buffer.concat([content.subarray(10, 60_000), Buffer.from('between'), Buffer.from('behn'), small]),
  );
  assert.deepEqual(shared, content);
  assert.equal(small.byteLength, 1_000);
});

test('a buffer whose write failed keeps its memory, because the session may still hold a part of it', async (t) => {
  const { bytes } = own(1_000_000);
  const failed = Promise.withResolvers<Error | null | undefined>();
  const answer = (stream: ServerHttp2Stream): void => {
    // More than the flow control window, so the rest waits.
    stream.write(bytes, failed.resolve);
    setTimeout(() => stream.destroy(new Error('broken off')), 20);
  };
  await call(t, answer, false);
  assert(await failed.promise);
  assert.equal(bytes.byteLength, 1_000_000);
});
