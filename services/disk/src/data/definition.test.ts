import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { ReadResponse, WriteRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { diskDataDefinition, readData } from './definition.ts';

const { read, write } = diskDataDefinition.methods;

test('a read is encoded as the generated code does it, whatever its length', () => {
  for (const length of [1, 127, 128, 16_384, 1_048_576]) {
    const message = { data: randomBytes(length) };
    const encoded = read.responseType.encode(message).finish();
    assert.deepEqual(Buffer.from(encoded), Buffer.from(ReadResponse.encode(message).finish()));
    assert.deepEqual(read.responseType.decode(Buffer.from(encoded)), message);
  }
});

test('data made with room for its field is sent where it lies', () => {
  for (const length of [1, 127, 128, 65_536]) {
    const data = readData(length);
    data.set(randomBytes(length));
    const expected = Buffer.from(ReadResponse.encode({ data }).finish());
    const encoded = read.responseType.encode({ data }).finish();
    assert.deepEqual(Buffer.from(encoded), expected);
    assert.equal(encoded.buffer, data.buffer);
  }
});

test('a write is decoded as the generated code does it, and its data is not copied', () => {
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

test('a message cut short is refused', () => {
  const encoded = WriteRequest.encode({ header: undefined, data: randomBytes(300) }).finish();
  for (const length of [1, 2, 100])
    assert.throws(() => write.requestType.decode(encoded.subarray(0, length)), /ends within/);
});
