import {
  addParts,
  causeLinks,
  contextFromTraceparent,
  currentTraceparent,
  DomainAttribute,
  inSpan,
  type SharedSpans,
  scopeTracer,
  sharedSpans,
} from '@interlock/runtime';
import { type Attributes, type Context, context, SpanKind, type Tracer, trace } from '@opentelemetry/api';
import { type Cause, idsOf, storedCause } from './cause.ts';
import { noteRunningSpan, spanCauses } from './event-spans.ts';
import type { Append, Commit, EventStore } from './store.ts';

/*
 * Spans of commits that append events. Such a span lists the events (`interlock.event.ids`), has links to the spans that stored
 * their causes, and is the trace context of the events: what follows from them in other services is below it. A commit that fails
 * lists none: the attempt after it stores events with the same ids.
 */

const ownTracer = scopeTracer('@interlock/event-store');
const sharedOf = new WeakMap<Tracer, SharedSpans>();

/** Commits of one turn share a transaction; if they belong to one piece of work, they share a span too. */
const spansOf = ({ tracer = ownTracer }: Store): SharedSpans => {
  const known = sharedOf.get(tracer) ?? sharedSpans(tracer);
  sharedOf.set(tracer, known);
  return known;
};
/** Attribute: the number of streams that a span is about. */
const STREAMS_COUNT = 'interlock.streams.count';

type Store = Pick<EventStore, 'commit' | 'spanAttributes' | 'tracer'>;
type Appending = Commit & { readonly appends: readonly Append[] };

/** Spans of commits are calls of the database, if there is one. */
const calling = ({ spanAttributes }: Store): { readonly kind: SpanKind; readonly common: Attributes } =>
  spanAttributes === undefined
    ? { kind: SpanKind.INTERNAL, common: {} }
    : { kind: SpanKind.CLIENT, common: spanAttributes };

/** The running span, unless the cause belongs to another trace: a batch of facts is processed in one span. */
const parentOf = ({ traceparent, tracestate }: Cause): Context => {
  const running = context.active();
  const traceId = trace.getSpanContext(running)?.traceId;
  if (traceparent === undefined || traceparent.slice(3, 35) === traceId) return running;
  const span = trace.getSpanContext(contextFromTraceparent(traceparent, tracestate));
  return span === undefined ? running : trace.setSpanContext(running, span);
};

/** The cause with the running span as its trace context. */
const decidedHere = (cause: Cause): Cause => {
  const traceparent = currentTraceparent();
  return traceparent === undefined ? cause : { ...cause, traceparent };
};

/** Stores a commit with one append in a span that it may share with others. @param cause as it is stored @returns positions of the events */
export const storeInSharedSpan = (
  store: Store,
  name: string,
  commit: Commit & { readonly appends: readonly [Append] },
  cause: Cause,
): Promise<readonly number[]> => {
  const [append] = commit.appends;
  const events = idsOf(append);
  const options = {
    ...calling(store),
    attributes: {
      'interlock.stream': append.stream,
      'interlock.stream.version': append.expected + append.events.length,
    },
    count: STREAMS_COUNT,
    parent: parentOf(cause),
    events,
    causes: spanCauses(cause.causes),
  };
  return spansOf(store)(name, options, async () => {
    const { positions } = await store.commit(commit, decidedHere(cause));
    noteRunningSpan(events);
    return positions;
  });
};

/** Stores a commit with several appends in a span of its own, and notes them in the tracker of the cause. @returns positions of the events */
export const storeInSpan = async (
  store: Store,
  name: string,
  commit: Appending,
  cause: Cause,
): Promise<readonly number[]> => {
  const { kind, common } = calling(store);
  const stored = storedCause(cause, undefined);
  const parts = commit.appends.map((append) => ({
    events: idsOf(append),
    causes: spanCauses(append.causes ?? stored.causes),
  }));
  const events = parts.flatMap((part) => part.events);
  const attributes = { ...common, [STREAMS_COUNT]: parts.length };
  const options = { kind, attributes, links: causeLinks(parts), parent: parentOf(cause) };
  const positions = await inSpan(store.tracer ?? ownTracer, name, options, async (span) => {
    const committed = await store.commit(commit, decidedHere(stored));
    span.setAttribute(DomainAttribute.events, events);
    addParts(span, parts);
    noteRunningSpan(events);
    return committed.positions;
  });
  for (const { stream, expected, events: all } of commit.appends) cause.tracker?.stored(stream, expected + all.length);
  return positions;
};
