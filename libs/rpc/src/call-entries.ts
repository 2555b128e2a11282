import { Metadata, type MetadataValue } from 'nice-grpc-common';

type Value = string | Uint8Array;

/**
 * The metadata of one call. nice-grpc's own creates eight functions for each call and validates every value with a pattern, also
 * tokens of hundreds of characters. This class validates only entries that this library does not write itself.
 */
export class CallEntries implements Metadata {
  readonly #entries = new Map<string, Value[]>();

  /** @param given entries of the caller, validated when they were added */
  constructor(given: Metadata | undefined) {
    if (given !== undefined) for (const [key, values] of given) this.#entries.set(key, values);
  }

  /** Sets an entry without validation: the key must be in lower case, the value printable ASCII. */
  put(key: string, value: string): void {
    this.#entries.set(key, [value]);
  }
  set<Key extends string>(key: Key, value: MetadataValue<Key> | MetadataValue<Key>[]): this {
    const [entry] = Metadata().set(key, value);
    if (entry) this.#entries.set(...entry);
    else this.#entries.delete(key.toLowerCase());
    return this;
  }
  append<Key extends string>(key: Key, value: MetadataValue<Key>): this {
    return this.set(key, [...this.getAll(key), value]);
  }
  delete(key: string): void {
    this.#entries.delete(key.toLowerCase());
  }
  get<Key extends string>(key: Key): MetadataValue<Key> | undefined {
    return this.getAll(key)[0];
  }
  getAll<Key extends string>(key: Key): MetadataValue<Key>[] {
    return (this.#entries.get(key.toLowerCase()) ?? []) as MetadataValue<Key>[];
  }
  has(key: string): boolean {
    return this.#entries.has(key.toLowerCase());
  }
  [Symbol.iterator](): IterableIterator<[string, Value[]]> {
    return this.#entries[Symbol.iterator]();
  }
}
