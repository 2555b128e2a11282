import { linkTo, type SpanCause, traceparentOf } from '@interlock/runtime';
import { context, type SpanContext, TraceFlags, trace } from '@opentelemetry/api';
import type { CausedBy } from './cause.ts';

/** Events of a generation. A machine has some twenty events from its start to its stop. */
const generationMax = 8_192;

/**
 * The span that stored each event, also of events of other services that named it, in two generations: the older one goes as a
 * whole. Removing the oldest entry of one map takes 8 µs, because a map keeps the holes of removed entries until it grows.
 */
let known = new Map<string, SpanContext>();
let older: ReadonlyMap<string, SpanContext> = new Map();

const spanOf = (id: string): SpanContext | undefined => known.get(id) ?? older.get(id);

const note = (id: string, span: SpanContext): void => {
  if (known.size >= generationMax) {
    older = known;
    known = new Map();
  }
  known.set(id, span);
};

let latest: { readonly traceparent: string | undefined; readonly span: SpanContext | undefined } | undefined;

/** The span of a trace context. Events of one span come one after the other, so the latest is kept. */
const spanIn = (traceparent: string | undefined): SpanContext | undefined => {
  if (latest === undefined || latest.traceparent !== traceparent)
    latest = { traceparent, span: linkTo(traceparent)?.context };
  return latest.span;
};

/** Notes that the span of this trace context stored the events; does nothing without one. */
export const noteEventSpan = (traceparent: string | undefined, ...ids: readonly string[]): void => {
  const span = spanIn(traceparent);
  if (span !== undefined) for (const id of ids) note(id, span);
};

/** Notes that the running span stored the events; does nothing if that span is not exported. */
export const noteRunningSpan = (ids: readonly string[]): void => {
  const span = trace.getSpanContext(context.active());
  if (span !== undefined && (span.traceFlags & TraceFlags.SAMPLED) !== 0) for (const id of ids) note(id, span);
};

/** Drops all spans, before another simulated world starts in this process. */
export const forgetEventSpans = (): void => {
  known = new Map();
  older = new Map();
};

/** Separates the id from the trace context. No id contains it. */
const separator = ';';

/** An event as another service reads it with `readEvent`: its id, and the trace context of the span that stored it if that is known. */
export const writeEvent = (id: string): string => {
  const traceparent = traceparentOf(spanOf(id));
  return traceparent === undefined ? id : `${id}${separator}${traceparent}`;
};

/** Reads an event of another service and notes its span. @returns its id */
export const readEvent = (text: string): string => {
  const end = text.indexOf(separator);
  if (end < 0) return text;
  const id = text.slice(0, end);
  noteEventSpan(text.slice(end + 1), id);
  return id;
};

/** These causes with their spans, as far as they are known, for links from the span that stores what follows from them. */
export const spanCauses = (causes: readonly CausedBy[]): readonly SpanCause[] => {
  const found: SpanCause[] = [];
  for (const { id } of causes) {
    const span = spanOf(id);
    if (span !== undefined) found.push({ span, id });
  }
  return found;
};
