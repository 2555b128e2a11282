import type { IoRecord } from '../record.ts';

/**
 * The operations of a record by machine. A growing list is indexed only once, because abort conditions read the record four times a
 * second, and it has thousands of operations.
 */
export class IoIndex {
  static readonly #known = new WeakMap<readonly IoRecord[], IoIndex>();
  readonly #byMachine = new Map<string, { readonly all: IoRecord[]; readonly failed: IoRecord[] }>();
  #count = 0;
  #latestMs = Number.NEGATIVE_INFINITY;

  /** The index of a list. Operations may be appended to the list later; best in order of completion. */
  static of(io: readonly IoRecord[]): IoIndex {
    let index = IoIndex.#known.get(io) ?? new IoIndex();
    if (!index.#extend(io)) {
      index = new IoIndex();
      index.#extend(io.toSorted((a, b) => a.completedMs - b.completedMs));
    }
    IoIndex.#known.set(io, index);
    return index;
  }

  /** Operations of a machine, by completion. */
  of(machine: string): readonly IoRecord[] {
    return this.#byMachine.get(machine)?.all ?? [];
  }

  /** Those of them that failed. */
  failedOf(machine: string): readonly IoRecord[] {
    return this.#byMachine.get(machine)?.failed ?? [];
  }

  /** Completion of the last operation; -Infinity without any. */
  get latestMs(): number {
    return this.#latestMs;
  }

  /** @returns false if the new operations are not in order: then the index must be built again */
  #extend(io: readonly IoRecord[]): boolean {
    for (; this.#count < io.length; this.#count += 1) {
      const one = io[this.#count];
      if (one === undefined) break;
      if (one.completedMs < this.#latestMs) return false;
      this.#latestMs = one.completedMs;
      const lists = this.#byMachine.get(one.machine) ?? { all: [], failed: [] };
      this.#byMachine.set(one.machine, lists);
      lists.all.push(one);
      if (!one.ok) lists.failed.push(one);
    }
    return true;
  }
}
