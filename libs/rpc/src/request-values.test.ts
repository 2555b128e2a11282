import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFileRegistry, type DescField, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { OpenDisksRequest } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import { ReadRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { CreateKeyRequest } from '@interlock/contracts/interlock/key_vault/v1/key.ts';
import { Rejection } from '@interlock/event-store';
import { checkRequest, readable } from './request-values.ts';

const refusal = async (
  path: string,
  request: unknown,
): Promise<Pick<Rejection, 'code' | 'reason' | 'message' | 'metadata'>> => {
  try {
    await checkRequest(path, request);
  } catch (error) {
    if (error instanceof Rejection) return error;
    throw error;
  }
  return assert.fail('it was not refused');
};

const read = '/interlock.disk.v1.DiskDataService/Read';
const createKey = '/interlock.key_vault.v1.KeyVaultService/CreateKey';

/** Field 2 or 3 as a varint of ten bytes: -(2^63). */
const least = Uint8Array.from([0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
/** Field 3 with 2^53. */
const beyond = Uint8Array.from([0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);

for (const [bytes, value] of [
  [least, '-9223372036854775808'],
  [beyond, '9007199254740992'],
] as const) {
  test(`the integer ${value} is refused with the name of its field`, async () => {
    const { code, reason, message, metadata } = await refusal(read, readable(ReadRequest.decode)(bytes));
    assert.deepEqual([code, reason], ['INVALID_ARGUMENT', 'NUMBER_OUT_OF_RANGE']);
    assert.deepEqual(metadata, { field: 'length_bytes', value });
    assert.match(message, /^length_bytes must be from -9007199254740991 to 9007199254740991 \(got /);
  });
}

test('a refusal names the field of an item with its index', async () => {
  const { OpenDisksRequest: type } = { OpenDisksRequest };
  const bytes = type
    .encode(
      type.fromPartial({ items: [{ open: { name: 'a' } }, { open: { name: 'b', attachEpochBefore: 2 ** 53 - 1 } }] }),
    )
    .finish();
  // The number is the last field. These bytes change it from 2^53 - 1 to 2^53.
  const at = bytes.findIndex((byte, n) => byte === 0xff && bytes[n + 6] === 0xff && bytes[n + 7] === 0x0f);
  const changed = Uint8Array.from(bytes);
  changed.set([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10], at);
  const { metadata } = await refusal('/interlock.disk.v1.DiskService/OpenDisks', readable(type.decode)(changed));
  assert.deepEqual(metadata, { field: 'items[1].open.attach_epoch_before', value: '9007199254740992' });
});

test('bytes that are not a message of the method are refused as REQUEST_MALFORMED', async () => {
  for (const bytes of [[0x0a], [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]) {
    const request = readable(ReadRequest.decode)(Uint8Array.from(bytes));
    const { code, reason } = await refusal(read, request);
    assert.deepEqual([code, reason], ['INVALID_ARGUMENT', 'REQUEST_MALFORMED'], String(bytes));
  }
});

test('a timestamp outside of the years 1 to 9999 is refused with the name of its field', async () => {
  const withExpiry = (ms: number) => CreateKeyRequest.fromPartial({ attributes: { expireTime: new Date(ms) } });
  for (const ms of [Number.NaN, -62_135_596_800_001, 253_402_300_800_000, 8.64e15, -8.64e15]) {
    const { code, reason, metadata } = await refusal(createKey, withExpiry(ms));
    assert.deepEqual([code, reason], ['INVALID_ARGUMENT', 'TIMESTAMP_OUT_OF_RANGE']);
    assert.deepEqual(metadata, { field: 'attributes.expire_time' });
  }
  for (const ms of [0, -1, -62_135_596_800_000, 253_402_300_799_999]) await checkRequest(createKey, withExpiry(ms));
});

test('every timestamp field of every request is checked, and a refusal names its path', async () => {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
  const missed: string[] = [];
  let found = 0;
  for (const service of registry) {
    if (service.kind !== 'service') continue;
    for (const { name, input } of service.methods) {
      for (const { path, message } of await messagesWithTimestamp(input)) {
        found += 1;
        try {
          await checkRequest(`/${service.typeName}/${name}`, message);
          missed.push(`${service.typeName}/${name} ${path}`);
        } catch (error) {
          if (!(error instanceof Rejection)) throw error;
          if (error.metadata.field !== path) missed.push(`${name}: ${error.metadata.field} for ${path}`);
        }
      }
    }
  }
  assert.deepEqual(missed, []);
  assert.ok(found >= 5, `${found} timestamps`);
});

/** Messages of a type that hold one invalid timestamp each, made with the generated code of its file. */
const messagesWithTimestamp = async (type: DescMessage): Promise<readonly { path: string; message: unknown }[]> => {
  const found: { path: string; message: unknown }[] = [];
  const visit = async (field: DescField, build: (value: unknown) => object, prefix: string): Promise<void> => {
    const { message: inner, localName, name, oneof } = field;
    if (inner === undefined || field.fieldKind === 'map') return;
    const isList = field.fieldKind === 'list';
    const path = `${prefix}${name}${isList ? '[0]' : ''}`;
    const placed = (value: unknown): object => {
      const own = isList ? [value] : value;
      return build(
        oneof === undefined ? { [localName]: own } : { [oneof.localName]: { $case: localName, value: own } },
      );
    };
    if (inner.typeName === 'google.protobuf.Timestamp') found.push({ path, message: placed(new Date(Number.NaN)) });
    else for (const next of inner.fields) await visit(next, placed, `${path}.`);
  };
  const generated: unknown = (await import(`@interlock/contracts/${type.file.name}.ts`))[type.name];
  const fromPartial: unknown = Reflect.get(generated as object, 'fromPartial');
  if (typeof fromPartial !== 'function') return [];
  for (const field of type.fields) await visit(field, (value) => Reflect.apply(fromPartial, generated, [value]), '');
  return found;
};
