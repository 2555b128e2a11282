/**
 * Makes a message that `fromPartial` has just built independent of what it was built from: that copies objects and
 * lists, and shares bytes. @returns the same message, its bytes replaced by copies
 */
export const ownBytes = <Message>(message: Message): Message => {
  if (typeof message === 'object' && message !== null) ownBytesIn(message);
  return message;
};

const ownBytesIn = (parts: object): void => {
  for (const key in parts) {
    const part: unknown = Reflect.get(parts, key);
    if (typeof part !== 'object' || part === null || part instanceof Date) continue;
    if (part instanceof Uint8Array) Reflect.set(parts, key, copyOf(part));
    else ownBytesIn(part);
  }
};

const copyOf = (bytes: Uint8Array): Uint8Array => (Buffer.isBuffer(bytes) ? Buffer.from(bytes) : bytes.slice());
