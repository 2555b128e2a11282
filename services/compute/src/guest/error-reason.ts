/** Fields of a protobuf message that are texts, bytes or messages: number → contents, in order. */
const fieldsOf = (bytes: Uint8Array): readonly { readonly field: number; readonly bytes: Uint8Array }[] => {
  const fields: { field: number; bytes: Uint8Array }[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; at < bytes.length; shift += 7) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = varint();
      fields.push({ field: Math.floor(tag / 8), bytes: bytes.subarray(at, at + length) });
      at += length;
    } else break;
  }
  return fields;
};

/** A refusal of a service. */
interface Refused {
  readonly reason: string;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * The reason in the details of an error (google.rpc.Status with an ErrorInfo of domain `interlock`), with its metadata. Read by hand, in
 * a few lines, because the libraries for it take longer to load than a guest to start.
 */
export const refusedIn = (status: Uint8Array): Refused | undefined => {
  const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
  for (const { bytes: any } of fieldsOf(status).filter(({ field }) => field === 3)) {
    const [typeUrl, value] = [1, 2].map((number) => fieldsOf(any).find(({ field }) => field === number)?.bytes);
    if (!value || !text(typeUrl).endsWith('/google.rpc.ErrorInfo')) continue;
    const fields = fieldsOf(value);
    const [reason, domain] = [1, 2].map((number) => fields.find(({ field }) => field === number)?.bytes);
    if (text(domain) !== 'interlock') continue;
    const entries = fields.filter(({ field }) => field === 3).map(({ bytes }) => fieldsOf(bytes));
    const metadata = entries.map((entry): [string, string] => [
      text(entry.find(({ field }) => field === 1)?.bytes),
      text(entry.find(({ field }) => field === 2)?.bytes),
    ]);
    return { reason: text(reason), metadata: new Map(metadata) };
  }
  return undefined;
};
