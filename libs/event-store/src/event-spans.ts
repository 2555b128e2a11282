import { linkTo, type SpanCause, traceparentOf } from '@interlock/runtime';
import { context, INVALID_TRACEID, type SpanContext, trace } from '@opentelemetry/api';
import type { CausedBy } from './cause.ts';

/** Events whose spans are known; the oldest go first. A machine has some twenty events from its start to its stop. */
const knownMax = 16_384;

/** The span that stored each event, also of events of other services that named it. */
const known = new Map<string, SpanContext>();

const note = (id: string, span: SpanContext): void => {
  known.set(id, span);
  if (known.size <= knownMax) return;
  const [oldest] = known.keys();
  if (oldest !== undefined) known.delete(oldest);
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

/** Notes that the running span stored the events; does nothing where nothing is traced. */
export const noteRunningSpan = (ids: readonly string[]): void => {
  const span = trace.getSpanContext(context.active());
  if (span !== undefined && span.traceId !== INVALID_TRACEID) for (const id of ids) note(id, span);
};

/** Forgets all spans: another world begins in this process. */
export const forgetEventSpans = (): void => known.clear();

/** Ends the id and begins the trace context. No id has it. */
const separator = ';';

/** An event as another service reads it with `readEvent`: its id, and the trace context of the span that stored it if that is known. */
export const writeEvent = (id: string): string => {
  const traceparent = traceparentOf(known.get(id));
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

/** The spans of these causes, as far as they are known, for links from the span that stores the events. */
export const spanCauses = (causes: readonly CausedBy[], events: readonly string[]): readonly SpanCause[] => {
  const found: SpanCause[] = [];
  for (const { id } of causes) {
    const span = known.get(id);
    if (span !== undefined) found.push({ span, cause: id, events });
  }
  return found;
};
