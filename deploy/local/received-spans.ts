import type { SpanStore } from '@interlock/lab/spans/span-store';
import { readSpans } from './read-spans.ts';

/** Received exports, and the store that parses them at the first query. */
export interface ReceivedSpans {
  /** Receives an export: the text of an ExportTraceServiceRequest in OTLP's JSON form. */
  take(request: string): void;
  /** The store with all received exports. @throws OtlpError, SyntaxError at the first query after a malformed export */
  readonly spans: SpanStore;
}

/** A text that each span of a request contains once. In the text of an attribute its quotes would be escaped. */
const mark = '"endTimeUnixNano":';

const countSpans = (request: string): number => {
  let count = 0;
  for (let at = request.indexOf(mark); at >= 0; at = request.indexOf(mark, at + mark.length)) count += 1;
  return count;
};

/**
 * Keeps exports unparsed until a query. Parsing and indexing a span takes 9 µs here, compared with 5 µs in the service, and most
 * spans are dropped before a query: parsing them at once would distort the measured times.
 * @param capacity how many spans wait at most; the oldest exports are dropped first
 */
export const receivedSpans = (store: SpanStore, capacity = 100_000): ReceivedSpans => {
  const waiting: { readonly request: string; readonly count: number }[] = [];
  let waitingCount = 0;
  let dropped = 0;

  const takeOldest = (): { readonly request: string; readonly count: number } | undefined => {
    const oldest = waiting.shift();
    waitingCount -= oldest?.count ?? 0;
    return oldest;
  };

  /** Moves waiting exports into the store. An export that cannot be read is removed before its error is thrown. */
  const complete = (): SpanStore => {
    for (let oldest = takeOldest(); oldest !== undefined; oldest = takeOldest()) {
      store.add(readSpans(JSON.parse(oldest.request)));
    }
    return store;
  };
  return {
    take(request) {
      const count = countSpans(request);
      waiting.push({ request, count });
      waitingCount += count;
      while (waitingCount > capacity && waiting.length > 1) dropped += takeOldest()?.count ?? 0;
    },
    spans: {
      add: (spans) => store.add(spans),
      spansOfTrace: (traceId) => complete().spansOfTrace(traceId),
      spansLinkingTo: (span) => complete().spansLinkingTo(span),
      spansLinkingInto: (traceId) => complete().spansLinkingInto(traceId),
      findByAttribute: (key, value) => complete().findByAttribute(key, value),
      count: () => {
        const { held, dropped: droppedLater } = complete().count();
        return { held, dropped: dropped + droppedLater };
      },
    },
  };
};
