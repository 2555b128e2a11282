/** Most keys of one read by default. */
const KEYS_MAX = 1_000;

interface Read<Found> {
  readonly keys: Set<string>;
  readonly found: Promise<ReadonlyMap<string, Found>>;
}

/**
 * Combines the reads of one turn of the event loop into one round trip: after a shared transaction all its callers continue in
 * the same turn, and each would make a round trip of its own. Every read starts after its call.
 * @param read finds the values of these keys; the response omits keys without a value
 * @param keysMax most keys of one read, to bound its size
 * @returns reads for one caller: the values of its keys, in any order
 */
export const coalescedReads = <Found>(
  read: (keys: readonly string[]) => Promise<ReadonlyMap<string, Found>>,
  keysMax = KEYS_MAX,
): ((keys: readonly string[]) => Promise<readonly Found[]>) => {
  let open: Read<Found> | undefined;

  const start = (): Read<Found> => {
    const keys = new Set<string>();
    const found = Promise.resolve().then(() => {
      if (open === started) open = undefined;
      return read([...keys]);
    });
    const started: Read<Found> = { keys, found };
    return started;
  };

  return async (wanted) => {
    // A request may contain any text. Postgres stores none with a NUL, and refuses the whole query.
    const keys = wanted.filter((key) => !key.includes('\0'));
    if (keys.length === 0) return [];
    if (open === undefined || open.keys.size + keys.length > keysMax) open = start();
    const { keys: all, found } = open;
    for (const key of keys) all.add(key);
    const values = await found;
    return [...new Set(keys)].flatMap((key) => values.get(key) ?? []);
  };
};
