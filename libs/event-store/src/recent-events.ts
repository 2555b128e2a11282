import type { RecordedEvent } from './store.ts';

/** The newest events this process stored itself. */
export interface RecentEvents {
  /** Keeps the events of one transaction. @param first position of the first of them; the others follow it */
  add(first: number, events: readonly RecordedEvent[]): void;
  /**
   * At most `limit` events with positions above `after`, in order and without a hole, beginning with the very next one.
   * Undefined when that one is not known here: somebody else stored it, it is too old, or it does not exist yet.
   */
  after(after: number, limit: number): readonly RecordedEvent[] | undefined;
}

/**
 * Keeps the newest events for whoever follows the feed close behind, as a relay does: what a commit of this process put
 * into the store need not be read out of it again. The store stays the record: whatever is not here is read there.
 * @param eventsMax most events kept
 */
export const recentEvents = (eventsMax: number): RecentEvents => {
  /** One entry a transaction, in order of positions. */
  const runs: { readonly first: number; readonly events: readonly RecordedEvent[] }[] = [];
  let count = 0;

  return {
    add(first, events) {
      if (events.length === 0) return;
      // Answers of transactions that were under way together may overtake each other.
      let at = runs.length;
      while (at > 0 && (runs[at - 1]?.first ?? 0) > first) at -= 1;
      runs.splice(at, 0, { first, events });
      count += events.length;
      while (count > eventsMax && runs.length > 1) count -= runs.shift()?.events.length ?? 0;
    },
    after(after, limit) {
      const found: RecordedEvent[] = [];
      let next = after + 1;
      for (const { first, events } of runs) {
        if (first > next) break;
        if (next >= first + events.length) continue;
        const taken = events.slice(next - first, next - first + limit - found.length);
        found.push(...taken);
        next += taken.length;
        if (found.length === limit) break;
      }
      return found.length > 0 ? found : undefined;
    },
  };
};
