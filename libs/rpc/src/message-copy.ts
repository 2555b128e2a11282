/**
 * Makes a message that `fromPartial` has built independent of its input: `fromPartial` copies objects and lists, but shares bytes.
 * @returns the same message, its bytes replaced by copies
 */
export const ownBytes = <Message>(message: Message): Message => {
  if (typeof message === 'object' && message !== null) ownBytesIn(message);
  return message;
};

const ownBytesIn = (message: object): void => {
  if (Array.isArray(message)) {
    const items: unknown[] = message;
    for (let at = 0; at < items.length; at += 1) {
      const item = items[at];
      if (item instanceof Uint8Array) items[at] = copyOf(item);
      else if (hasParts(item)) ownBytesIn(item);
    }
    return;
  }
  const parts = message as Record<string, unknown>;
  for (const key in parts) {
    const part = parts[key];
    if (part instanceof Uint8Array) parts[key] = copyOf(part);
    else if (hasParts(part)) ownBytesIn(part);
  }
};

/** Whether a value is an object or a list. */
const hasParts = (part: unknown): part is object =>
  typeof part === 'object' && part !== null && !(part instanceof Date);

const copyOf = (bytes: Uint8Array): Uint8Array => (Buffer.isBuffer(bytes) ? Buffer.from(bytes) : bytes.slice());
