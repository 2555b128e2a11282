/**
 * Length-delimited fields of protobuf messages, encoded manually: the client and the bare server of `disk-io` neither copy nor decode
 * data. Tags: data of a `ReadResponse`, data of a `WriteRequest`.
 */
export const readDataTag = 0x0a;
export const writeDataTag = 0x12;

/** Tag and length before the bytes of a field. */
export const fieldHead = (tag: number, length: number): Buffer => {
  const head = [tag];
  let rest = length;
  for (; rest >= 128; rest >>>= 7) head.push((rest & 127) | 128);
  return Buffer.from([...head, rest]);
};

/** Length of the field with that tag, in a message of length-delimited fields only; 0 without it. */
export const fieldLength = (tag: number, bytes: Buffer): number => {
  for (let at = 0; at < bytes.length; ) {
    const field = bytes[at++];
    let length = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++] ?? 0;
      length += (byte & 127) * shift;
      if (byte < 128) break;
    }
    if (field === tag) return length;
    at += length;
  }
  return 0;
};
