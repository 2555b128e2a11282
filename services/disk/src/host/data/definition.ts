import { ReadResponse, WriteHeader, type WriteRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { sharedBytes } from '@interlock/rpc';

/**
 * DiskDataService with codecs that do not copy what is read and written: a read is decrypted into the message it is sent in,
 * a write encrypted from the one it came in. On the wire nothing differs from the generated ones.
 *
 * The memory of both is freed after its last use. If it were left to the garbage collector, that would examine
 * everything this process holds for every few pieces: a third of the cost of a write.
 */
export const diskDataDefinition = {
  ...DiskDataServiceDefinition,
  methods: {
    ...DiskDataServiceDefinition.methods,
    read: {
      ...DiskDataServiceDefinition.methods.read,
      responseType: {
        encode: (message: ReadResponse) => ({ finish: () => encodeRead(message.data) }),
        // If both ends are in one process, this reads the result of `encode`, whose memory is freed.
        decode: (bytes: Uint8Array): ReadResponse => ReadResponse.decode(Buffer.from(Uint8Array.from(bytes).buffer)),
      },
    },
    write: {
      ...DiskDataServiceDefinition.methods.write,
      requestType: {
        encode: DiskDataServiceDefinition.methods.write.requestType.encode,
        fromPartial: DiskDataServiceDefinition.methods.write.requestType.fromPartial,
        decode: (bytes: Uint8Array): WriteRequest => decodeWrite(bytes),
      },
    },
  },
} as const;

/** Tags of length-delimited fields: number × 8 + 2. */
const tag = { first: 0x0a, second: 0x12 } as const;

/** Data of a `ReadResponse`, to be filled, with room in front for the field that goes before it on the wire. */
export const readData = (length: number): Buffer<ArrayBuffer> => {
  const room = 1 + varint(length).length;
  const { buffer } = Buffer.allocUnsafeSlow(room + length);
  withRoom.add(buffer);
  return Buffer.from(buffer, room, length);
};

/** The memory of data made with room, until it is sent. */
const withRoom = new WeakSet<ArrayBufferLike>();

/** `ReadResponse{data}` in a buffer of its own: that of the data if it has room for the field header. */
const encodeRead = (data: Uint8Array): Uint8Array => {
  const head = [tag.first, ...varint(data.length)];
  const { buffer } = data;
  const isWhole = data.byteOffset === head.length && buffer.byteLength === head.length + data.length;
  if (!isWhole || !withRoom.delete(buffer)) {
    const message = new Uint8Array(head.length + data.length);
    message.set(head);
    message.set(data, head.length);
    return sharedBytes(message);
  }
  const message = new Uint8Array(buffer);
  message.set(head);
  // gRPC copies what it is handed before it does anything else. Its memory is free from then on.
  if (buffer instanceof ArrayBuffer) queueMicrotask(() => buffer.transfer(0));
  return sharedBytes(message);
};

/** A `WriteRequest` whose data lies in the received message. @throws Error for bytes that are no such message */
const decodeWrite = (bytes: Uint8Array): WriteRequest => {
  let header: WriteHeader | undefined;
  let data: WriteRequest['data'] = Buffer.alloc(0);
  for (let at = 0; at < bytes.length; ) {
    const field = bytes[at];
    const [length, from] = readVarint(bytes, at + 1);
    const to = from + length;
    if (to > bytes.length) throw new Error('the message ends within a field');
    if (field === tag.first) header = WriteHeader.decode(bytes.subarray(from, to));
    else if (field === tag.second) data = Buffer.from(bytes.buffer, bytes.byteOffset + from, length);
    else throw new Error('the message has a field that is not known here');
    at = to;
  }
  const { buffer } = bytes;
  const isAlone = bytes.byteOffset === framePrefixLength && bytes.length === buffer.byteLength - framePrefixLength;
  if (isAlone) receivedAlone.add(buffer);
  return { header, data };
};

/** What gRPC has in front of each message: a flag and a length. */
const framePrefixLength = 5;

/** The memory of messages that were received into a buffer of their own. Small ones share theirs with others. */
const receivedAlone = new WeakSet<ArrayBufferLike>();

/** Frees the memory of a received `WriteRequest`, if it has its own. Its data must not be used any more. */
export const release = ({ data: { buffer } }: Pick<WriteRequest, 'data'>): void => {
  if (receivedAlone.delete(buffer) && buffer instanceof ArrayBuffer) buffer.transfer(0);
};

const varint = (value: number): readonly number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];

const readVarint = (bytes: Uint8Array, from: number): readonly [value: number, next: number] => {
  let value = 0;
  for (let at = from; at < from + 5; at++) {
    const byte = bytes[at];
    if (byte === undefined) break;
    value += (byte & 127) * 2 ** (7 * (at - from));
    if (byte < 128) return [value, at + 1];
  }
  throw new Error('the message ends within a length');
};
