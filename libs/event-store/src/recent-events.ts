import type { RecordedEvent } from './store.ts';

/** The newest events that this process stored. */
export interface RecentEvents {
  /** Keeps the events of one transaction. @param first position of the first event; the others follow without a gap */
  add(first: number, events: readonly RecordedEvent[]): void;
  /**
   * At most `limit` events from position `after` + 1 on, in order and without a gap. Undefined when the first of them is not
   * kept: another process stored it, it is too old, or it does not exist yet.
   */
  after(after: number, limit: number): readonly RecordedEvent[] | undefined;
}

/**
 * Keeps the newest events for followers of the feed (the relay), so that events of this process need not be read from the store.
 * Everything else is read there.
 * @param eventsMax most events kept
 */
export const recentEvents = (eventsMax: number): RecentEvents => {
  /** One entry for each transaction, in order of positions. */
  const runs: { readonly first: number; readonly events: readonly RecordedEvent[] }[] = [];
  let count = 0;

  return {
    add(first, events) {
      if (events.length === 0) return;
      // Concurrent transactions may complete in another order.
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
