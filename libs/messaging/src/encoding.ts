/** What a generated message type has of its writer. */
interface Writer {
  finish(): Uint8Array;
}

/**
 * Encodes messages of one type with one writer: its buffer has grown to what such messages take, where a new one would
 * begin small each time, double, and copy.
 */
export const encoder = <Message, Used extends Writer>(type: {
  encode(message: Message, writer?: Used): Used;
}): ((message: Message) => Uint8Array) => {
  let writer: Used | undefined;
  return (message) => {
    const used = writer;
    // Taken away meanwhile: what a failure leaves in it would stand before the next message.
    writer = undefined;
    const written = type.encode(message, used);
    const bytes = written.finish();
    writer = written;
    return bytes;
  };
};
