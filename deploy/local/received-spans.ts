import { spansOf } from './otlp.ts';
import type { SpanStore } from './spans.ts';

/** Spans as they were sent, and the store they come into once somebody asks for spans. */
export interface ReceivedSpans {
  /** Takes an export: the text of an ExportTraceServiceRequest in OTLP's JSON form. */
  take(request: string): void;
  /** The store, with everything that was taken. @throws OtlpError, SyntaxError at the first question after a malformed export */
  readonly spans: SpanStore;
}

/** What each span of a request has once. In the text of an attribute the quotes would be escaped. */
const mark = '"endTimeUnixNano":';

const spansIn = (request: string): number => {
  let count = 0;
  for (let at = request.indexOf(mark); at >= 0; at = request.indexOf(mark, at + mark.length)) count += 1;
  return count;
};

/**
 * Keeps exports as they are until somebody asks. To take a span apart and to index it costs this process 9 µs, beside 5 that
 * the service had with it, and most are dropped before anybody has asked: a revocation would be measured with them.
 * @param capacity how many spans wait at most; the oldest exports go first
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

  /** Puts what waits into the store. What cannot be read no longer waits when that is thrown. */
  const complete = (): SpanStore => {
    for (let oldest = takeOldest(); oldest !== undefined; oldest = takeOldest()) {
      store.add(spansOf(JSON.parse(oldest.request)));
    }
    return store;
  };
  return {
    take(request) {
      const count = spansIn(request);
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
