/**
 * Marks encoded bytes so that they are handed to gRPC as they are. nice-grpc passes every encoded message through
 * `Buffer.from`, which copies; but it takes what `valueOf` returns, and an `ArrayBuffer` is shared and not copied.
 *
 * For a codec of the data path: build the message in a buffer of its own, field header in front, data behind.
 *
 * @param bytes must fill their `ArrayBuffer`, and must not be changed afterwards
 * @throws RangeError when they do not: what lies around them would be sent too
 */
export function sharedBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength !== bytes.buffer.byteLength) {
    throw new RangeError(`${bytes.byteLength} bytes do not fill their buffer of ${bytes.buffer.byteLength}`);
  }
  Object.defineProperty(bytes, 'valueOf', { value: () => bytes.buffer });
  return bytes;
}
