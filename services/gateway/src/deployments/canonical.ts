/** A text that is equal for equal values, and for no others: the members of an object have no order. */
export const canonical = (value: unknown): string =>
  JSON.stringify(value ?? null, (_name, one: unknown) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
