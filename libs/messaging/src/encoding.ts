import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** Longest text that is written here; a longer one the writer of the library takes. */
const LENGTH_MAX = 256;
/** For a text of that length, whatever its characters. */
const scratch = Buffer.alloc(3 * LENGTH_MAX);
/** By length, the beginning of `scratch`. */
const beginnings = Array.from({ length: LENGTH_MAX + 1 }, (_, length) => scratch.subarray(0, length));

/**
 * Writes names and ids without making anything: the library takes a view of its buffer for each text of more than 32
 * characters, of which a fact has ten.
 */
class FactWriter extends BinaryWriter {
  override string(text: string): this {
    if (text.length > LENGTH_MAX) return super.string(text);
    const bytes = beginnings[scratch.write(text)];
    return bytes === undefined ? super.string(text) : this.bytes(bytes);
  }
}

/**
 * Encodes messages of one type with one writer: its buffer has grown to what such messages take, where a new one would
 * begin small each time, double, and copy.
 */
export const encoder = <Message>(type: {
  encode(message: Message, writer?: BinaryWriter): BinaryWriter;
}): ((message: Message) => Uint8Array) => {
  let writer: BinaryWriter | undefined;
  return (message) => {
    const used = writer ?? new FactWriter();
    // Taken away meanwhile: what a failure leaves in it would stand before the next message.
    writer = undefined;
    const written = type.encode(message, used);
    const bytes = written.finish();
    writer = written;
    return bytes;
  };
};
