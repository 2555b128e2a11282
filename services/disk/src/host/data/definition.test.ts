import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ReadResponse, WriteRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { connect, openChannel, service, startServer } from '@interlock/rpc';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { diskDataDefinition, readData, release } from './definition.ts';

const { read, write } = diskDataDefinition.methods;

test('a read response of any length is encoded as the generated code encodes it', () => {
  for (const length of [1, 127, 128, 16_384, 1_048_576]) {
    const message = { data: randomBytes(length) };
    const encoded = read.responseType.encode(message).finish();
    assert.deepEqual(Buffer.from(encoded), Buffer.from(ReadResponse.encode(message).finish()));
    assert.deepEqual(read.responseType.decode(Buffer.from(encoded)), message);
  }
});

test('data allocated with room for its field header is encoded without a copy', () => {
  for (const length of [1, 127, 128, 65_536]) {
    const data = readData(length);
    data.set(randomBytes(length));
    const expected = Buffer.from(ReadResponse.encode({ data }).finish());
    const encoded = read.responseType.encode({ data }).finish();
    assert.deepEqual(Buffer.from(encoded), expected);
    assert.equal(encoded.buffer, data.buffer);
  }
});

test('reads arrive complete, although their memory is released as soon as gRPC has it', async () => {
  const pieces = Array.from({ length: 256 }, (_, n) => randomBytes(n % 3 === 0 ? 65_536 : 1_000 + n));
  const sent: Buffer[] = [];
  const data = service({
    definition: diskDataDefinition,
    implementation: {
      async *read() {
        for (const piece of pieces) {
          const made = readData(piece.length);
          made.set(piece);
          sent.push(made);
          yield { data: made };
        }
      },
      write: () => assert.fail('not asked'),
      flush: () => assert.fail('not asked'),
    },
    authorization: { read: { public: true }, write: { public: true }, flush: { public: true } },
  });
  const around = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('test') };
  const server = await startServer({
    ...around,
    address: '127.0.0.1:0',
    tls: 'plaintext',
    services: [data],
    authenticate: () => assert.fail('it is public'),
    authorize: () => assert.fail('it is public'),
    log: logger({ service: 'disk', clock: systemClock, write: () => undefined }),
  });
  const channel = openChannel({ address: server.address, tls: 'plaintext' });
  const client = connect({
    ...around,
    channel,
    definition: DiskDataServiceDefinition,
    credentials: undefined,
    audience: 'interlock:disk',
  });
  const readAll = async () => {
    const received: Uint8Array[] = [];
    for await (const message of client.read({ name: 'd', offsetBytes: 0, lengthBytes: 1 })) {
      // A slow reader: sent messages wait in the buffers of both ends.
      if (received.length % 64 === 0) await pause(5);
      received.push(message.data);
    }
    return Buffer.concat(received);
  };
  const whole = Buffer.concat(pieces);
  for (const received of await Promise.all([readAll(), readAll(), readAll()])) assert.ok(received.equals(whole));
  assert.ok(sent.every(({ buffer }) => buffer.byteLength === 0));
  channel.close();
  await server.stop();
});

test('a write request is decoded as the generated code decodes it, without a copy of its data', () => {
  const header = { name: 'subscriptions/s/resourceGroups/g/disks/d', offsetBytes: 2 ** 40 };
  for (const message of [
    { header, data: randomBytes(70_000) },
    { header: undefined, data: randomBytes(3) },
    { header, data: Buffer.alloc(0) },
  ]) {
    const encoded = Buffer.from(WriteRequest.encode(message).finish());
    const decoded = write.requestType.decode(encoded);
    assert.deepEqual(decoded, message);
    if (message.data.length > 0) assert.equal(decoded.data.buffer, encoded.buffer);
  }
});

test('the memory of a write is released if the message owns it, and kept if it is shared', () => {
  const encoded = WriteRequest.encode({ header: undefined, data: randomBytes(70_000) }).finish();
  /** As gRPC receives it: after a prefix of five bytes, and followed by `behind` more if the buffer is shared. */
  const received = (behind: number) => {
    const frame = Buffer.from(new ArrayBuffer(5 + encoded.length + behind));
    frame.set(encoded, 5);
    return write.requestType.decode(frame.subarray(5, 5 + encoded.length));
  };
  const [own, shared] = [received(0), received(100)];
  const sent = { header: undefined, data: randomBytes(10) };
  for (const message of [own, shared, sent]) release(message);
  assert.equal(own.data.buffer.byteLength, 0);
  assert.equal(shared.data.length, 70_000);
  assert.equal(sent.data.length, 10);
  release(own);
});

test('a truncated message is refused', () => {
  const encoded = WriteRequest.encode({ header: undefined, data: randomBytes(300) }).finish();
  for (const length of [1, 2, 100])
    assert.throws(() => write.requestType.decode(encoded.subarray(0, length)), /ends within/);
});
