/** Most keys one look is made for, where nothing else is said. */
const keysMaxDefault = 1_000;

interface Look<Found> {
  readonly keys: Set<string>;
  readonly found: Promise<ReadonlyMap<string, Found>>;
}

/**
 * Lets callers of the same turn share one look at the store: after a shared transaction all its callers go on at once, and
 * what each of them looks up next would be a round trip of its own. Every look is made after the call.
 * @param look finds what there is for these keys; a key without anything is absent in the answer
 * @param keysMax most keys of one look: bounds what is found at once
 * @returns the same for one caller: what was found for its keys, in any order
 */
export const sharedLooks = <Found>(
  look: (keys: readonly string[]) => Promise<ReadonlyMap<string, Found>>,
  keysMax = keysMaxDefault,
): ((keys: readonly string[]) => Promise<readonly Found[]>) => {
  let open: Look<Found> | undefined;

  const begin = (): Look<Found> => {
    const keys = new Set<string>();
    const found = Promise.resolve().then(() => {
      if (open === begun) open = undefined;
      return look([...keys]);
    });
    const begun: Look<Found> = { keys, found };
    return begun;
  };

  return async (wanted) => {
    // A request may ask for any text. Postgres has none with a NUL in it, and refuses the whole question.
    const keys = wanted.filter((key) => !key.includes('\0'));
    if (keys.length === 0) return [];
    if (open === undefined || open.keys.size + keys.length > keysMax) open = begin();
    const mine = open;
    for (const key of keys) mine.keys.add(key);
    const found = await mine.found;
    return [...new Set(keys)].flatMap((key) => found.get(key) ?? []);
  };
};
