/**
 * Marks encoded bytes so that gRPC sends them without a copy. nice-grpc passes every encoded message through `Buffer.from`, which
 * copies. But `Buffer.from` uses what `valueOf` returns, and shares an `ArrayBuffer`.
 *
 * For a codec of the data path: build the message in its own buffer, first the field header, then the data.
 *
 * @param bytes must fill their `ArrayBuffer`, and must not be changed afterwards
 * @throws RangeError if they do not fill it: the bytes around them would be sent too
 */
export function sharedBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength !== bytes.buffer.byteLength) {
    throw new RangeError(`${bytes.byteLength} bytes do not fill their buffer of ${bytes.buffer.byteLength}`);
  }
  Object.defineProperty(bytes, 'valueOf', { value: () => bytes.buffer });
  return bytes;
}
