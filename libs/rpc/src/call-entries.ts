import { Metadata, type MetadataValue } from 'nice-grpc-common';

type Value = string | Uint8Array;

/**
 * The metadata of one call, for entries this library writes itself. What nice-grpc makes is eight functions for each call, and
 * holds every value against a pattern, a token of hundreds of letters too; here that is done with what others add.
 */
export class CallEntries implements Metadata {
  readonly #entries = new Map<string, Value[]>();

  /** @param given entries of the caller's own, which were checked when they were put there */
  constructor(given: Metadata | undefined) {
    if (given !== undefined) for (const [key, values] of given) this.#entries.set(key, values);
  }

  /** Puts an entry that is known to be right: its key in lower case, its value printable ASCII. */
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
