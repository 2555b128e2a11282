import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** Longest text that this writer handles; the library writes longer ones. */
const LENGTH_MAX = 256;
/** Room for a text of that length in UTF-8. */
const scratch = Buffer.alloc(3 * LENGTH_MAX);
/** The first bytes of `scratch`, by length. */
const beginnings = Array.from({ length: LENGTH_MAX + 1 }, (_, length) => scratch.subarray(0, length));

/**
 * Writes names and ids without an allocation: the library creates a view of its buffer for each text of more than 32 characters,
 * and a fact has ten of them.
 */
class FactWriter extends BinaryWriter {
  override string(text: string): this {
    if (text.length > LENGTH_MAX) return super.string(text);
    const bytes = beginnings[scratch.write(text)];
    return bytes === undefined ? super.string(text) : this.bytes(bytes);
  }
}

/**
 * Encodes messages of one type with one writer, whose buffer has grown to the size of such messages. A new writer starts small,
 * doubles its buffer and copies, for each message.
 */
export const encoder = <Message>(type: {
  encode(message: Message, writer?: BinaryWriter): BinaryWriter;
}): ((message: Message) => Uint8Array) => {
  let writer: BinaryWriter | undefined;
  return (message) => {
    const used = writer ?? new FactWriter();
    // After a failure its content would precede the next message.
    writer = undefined;
    const written = type.encode(message, used);
    const bytes = written.finish();
    writer = written;
    return bytes;
  };
};
