/**
 * What storage failed to do: it had no room (`full`), it failed (`failed`), a flush of a disk's data failed (`flush`), or a write of
 * a header failed (`header`), so that either of two headers may be the valid one.
 */
export type StorageFailure = 'full' | 'failed' | 'flush' | 'header';

/** What storage refused, and when. It excuses only the operations that it refused. */
export interface StorageRecord {
  note(failure: StorageFailure, volumeId: string): void;
  /** Whether it happened at that true time or later. @param volumeId only there; anywhere without it */
  happenedSince(sinceMs: number, failure: StorageFailure, volumeId?: string): boolean;
  /** Calls the listener with the volume of each flush that failed. */
  onFlushFailed(listener: (volumeId: string) => void): void;
}

export const openStorageRecord = (nowMs: () => number): StorageRecord => {
  /** True time of the last one, by failure and volume, and by failure alone. */
  const last = new Map<string, number>();
  const listeners: ((volumeId: string) => void)[] = [];
  return {
    note(failure, volumeId) {
      last.set(failure, nowMs());
      last.set(`${failure} ${volumeId}`, nowMs());
      if (failure === 'flush') for (const listener of listeners) listener(volumeId);
    },
    happenedSince: (sinceMs, failure, volumeId) =>
      (last.get(volumeId === undefined ? failure : `${failure} ${volumeId}`) ?? Number.NEGATIVE_INFINITY) >= sinceMs,
    onFlushFailed: (listener) => {
      listeners.push(listener);
    },
  };
};
