import type { Commit, MemoryStore, RecordedEvent } from '@interlock/event-store';
import type { Replica } from '@interlock/host';
import type { Workload } from '@interlock/rpc';

/** What one commit stored in a service. */
export interface Committed {
  readonly service: Workload;
  /** The process that committed it; undefined: none, as for a commit by a test. */
  readonly by: Replica | undefined;
  readonly commit: Commit;
  /** The events as they were recorded. */
  readonly events: readonly RecordedEvent[];
}

/** A memory store that reports every commit, whether or not its writer gets the acknowledgement. */
export const observedStore = (
  origin: Pick<Committed, 'service' | 'by'>,
  store: MemoryStore,
  listeners: readonly ((committed: Committed) => void)[],
): MemoryStore => {
  return {
    ...store,
    async commit(commit, cause) {
      const stored = await store.commit(commit, cause);
      if (listeners.length > 0) {
        const [first] = stored.positions;
        const events = first === undefined ? [] : await store.feed(first - 1, stored.positions.length);
        for (const listener of listeners) listener({ ...origin, commit, events });
      }
      return stored;
    },
  };
};
