/**
 * Values that change threads: end to end in one buffer, which is moved. A buffer for each, or a view of its own, would cost more
 * than everything else about a message.
 */
export interface PackedValues {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
}

/** Copies them into one buffer, to be moved with `values.bytes.buffer`. */
export const packValues = (values: readonly Uint8Array[]): PackedValues => {
  const lengths = values.map(({ length }) => length);
  const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
  let used = 0;
  for (const value of values) {
    bytes.set(value, used);
    used += value.length;
  }
  return { bytes, lengths };
};

/** The values where they are: to overwrite one is to overwrite it there. */
export const unpackValues = ({ bytes, lengths }: PackedValues): readonly Uint8Array[] => {
  let used = 0;
  return lengths.map((length) => {
    used += length;
    return bytes.subarray(used - length, used);
  });
};
