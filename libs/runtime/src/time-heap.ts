import type { Alarm } from './clock.ts';

/** Callbacks in the order of their due times; those with the same time in the order they were added. */
export interface TimeHeap {
  add(at: number, wake: () => void): Alarm;
  /** Time of the earliest callback; undefined if the heap is empty. */
  nextAt(): number | undefined;
  /** Calls and removes all callbacks due at or before `at`. Callbacks added meanwhile wait for the next call. */
  wakeUntil(at: number): void;
  size(): number;
}

interface Entry {
  readonly at: number;
  readonly order: number;
  /** Undefined once cancelled: the entry stays in the heap until it is at the top. */
  wake: (() => void) | undefined;
}

const isBefore = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/** A binary heap. Most entries are deadlines that are cancelled, so cancelling only marks an entry. */
export const timeHeap = (): TimeHeap => {
  const heap: Entry[] = [];
  let added = 0;
  let live = 0;

  const rise = (entry: Entry): void => {
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || !isBefore(entry, parent)) break;
      heap[index] = parent;
      heap[parentIndex] = entry;
      index = parentIndex;
    }
  };
  const takeFirst = (): Entry | undefined => {
    const first = heap[0];
    const moved = heap.pop();
    if (moved === undefined || moved === first) return first;
    let index = 0;
    for (;;) {
      const leftIndex = 2 * index + 1;
      const left = heap[leftIndex];
      if (left === undefined) break;
      const right = heap[leftIndex + 1];
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (!isBefore(child, moved)) break;
      heap[index] = child;
      index = isRight ? leftIndex + 1 : leftIndex;
    }
    heap[index] = moved;
    return first;
  };
  const dropCancelled = (): void => {
    while (heap.length > 0 && heap[0]?.wake === undefined) takeFirst();
  };

  return {
    add(at, wake) {
      const entry: Entry = { at, order: added, wake };
      added += 1;
      live += 1;
      rise(entry);
      return {
        cancel() {
          if (entry.wake === undefined) return;
          entry.wake = undefined;
          live -= 1;
        },
      };
    },
    nextAt() {
      dropCancelled();
      return heap[0]?.at;
    },
    wakeUntil(at) {
      const until = added;
      for (;;) {
        dropCancelled();
        const next = heap[0];
        if (next === undefined || next.at > at || next.order >= until) return;
        takeFirst();
        const { wake } = next;
        next.wake = undefined;
        live -= 1;
        wake?.();
      }
    },
    size: () => live,
  };
};
