import type { Rows } from './rows.ts';

/** A part of the rows for one viewer. */
export interface RowsPart {
  /** `{"isReset":false,"isMore":false,"rows":{"set …":{…}}}`; a deleted row is null. */
  readonly text: string;
  /** Whether the viewer has to forget what it had. */
  readonly isReset: boolean;
  /** Change number up to which the viewer knows the rows after it. */
  readonly upTo: number;
}

interface Kept {
  readonly change: number;
  /** Undefined: deleted. */
  readonly json: string | undefined;
}

/** Deleted rows that are remembered, so that a viewer that was away learns of them without reading all again. */
const DELETED_MAX = 10_000;

/**
 * The rows that every viewer of the page gets, each with the number of its last change. A viewer that has the rows up to a number gets
 * those that changed since then, in their newest state: so a slow viewer costs no memory, and one that was away catches up.
 */
export class LiveRows {
  readonly #kept = new Map<string, Kept>();
  readonly #deletedMax: number;
  readonly #listeners = new Set<() => void>();
  #change = 0;
  #deletedCount = 0;
  /** The newest deletion that is forgotten: who knows only older rows gets all again. */
  #forgotten = 0;

  /** @param deletedMax deleted rows that are remembered */
  constructor(deletedMax = DELETED_MAX) {
    this.#deletedMax = deletedMax;
  }

  /** Number of the last change; 0 without rows. */
  get newest(): number {
    return this.#change;
  }

  /** Sets a row. An equal one is no change. */
  set<Name extends keyof Rows>(name: Name, value: Rows[Name]): void {
    const json = JSON.stringify(value);
    const before = this.#kept.get(name);
    if (before?.json === json) return;
    if (before !== undefined && before.json === undefined) this.#deletedCount -= 1;
    this.#put(name, json);
  }

  /** Deletes the rows that begin with `prefix` and are not in `names`. */
  retain(prefix: string, names: ReadonlySet<string>): void {
    for (const [name, { json }] of [...this.#kept])
      if (json !== undefined && name.startsWith(prefix) && !names.has(name)) {
        this.#put(name, undefined);
        this.#deletedCount += 1;
      }
    if (this.#deletedCount > this.#deletedMax) this.#forget();
  }

  /** Calls a listener after changes, when `publish` is called. @returns a function that ends that */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reports changes to the listeners. */
  publish(): void {
    for (const listener of this.#listeners) listener();
  }

  /**
   * What changed after a number.
   * @param bytesMax the part ends with the first row that reaches it
   * @param complete a later number, if the viewer got everything again and is not at its end: what was deleted up to that it never had
   * @returns undefined if nothing did
   */
  since(after: number, bytesMax: number, complete = after): RowsPart | undefined {
    if (after === this.#change) return undefined;
    const isReset = after === 0 || after > this.#change || Math.max(after, complete) < this.#forgotten;
    const from = isReset ? 0 : after;
    const parts: string[] = [];
    let [bytes, upTo] = [0, from];
    for (const [name, { change, json }] of this.#kept) {
      if (change <= from || (isReset && json === undefined)) continue;
      if (bytes >= bytesMax) break;
      const part = `${JSON.stringify(name)}:${json ?? 'null'}`;
      parts.push(part);
      bytes += part.length;
      upTo = change;
    }
    const end = parts.length === 0 ? this.#change : upTo;
    const text = `{"isReset":${isReset},"isMore":${end < this.#change},"rows":{${parts.join(',')}}}`;
    return { text, isReset, upTo: end };
  }

  /** Rows are in the order of their changes. */
  #put(name: string, json: string | undefined): void {
    this.#change += 1;
    this.#kept.delete(name);
    this.#kept.set(name, { change: this.#change, json });
  }

  /** Forgets half of the deleted rows, the oldest first. */
  #forget(): void {
    for (const [name, { change, json }] of this.#kept) {
      if (this.#deletedCount <= this.#deletedMax / 2) return;
      if (json !== undefined) continue;
      this.#kept.delete(name);
      this.#deletedCount -= 1;
      this.#forgotten = change;
    }
  }
}
