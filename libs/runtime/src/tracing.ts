import {
  type Attributes,
  type Context,
  context,
  createTraceState,
  defaultTextMapGetter,
  defaultTextMapSetter,
  INVALID_SPANID,
  INVALID_TRACEID,
  type Link,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { parseTraceParent, W3CBaggagePropagator } from '@opentelemetry/core';
import { DomainAttribute } from './attributes.ts';
import { addParts, causeLinks, type SpanCause, type SpanPart } from './cause-links.ts';

/** How a span starts. */
export interface SpanOptions {
  /** Default INTERNAL. */
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  /** Links to spans that are related but not the parent, for example those of the messages of a batch. */
  readonly links?: readonly Link[];
  /** Default: the running context. */
  readonly parent?: Context;
}

/**
 * Runs `fn` in its own span, which ends with it. A thrown error marks the span as failed, with the name of the error and its
 * `reason` if it has one, and is thrown to the caller.
 */
export async function inSpan<Result>(
  tracer: Tracer,
  name: string,
  options: SpanOptions,
  fn: (span: Span) => Promise<Result> | Result,
): Promise<Result> {
  const { span, spanContext } = openSpan(tracer, name, options);
  try {
    return await context.with(spanContext, fn, undefined, span);
  } catch (error) {
    failSpan(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/**
 * Runs work in shared spans: all work that starts in one turn of the event loop under one parent and one name (the same step for
 * each machine of a fleet) has one span, which ends with the last piece. Work without a parent has its own span.
 */
export type SharedSpans = <Result>(
  name: string,
  options: SharedSpanOptions,
  fn: () => Promise<Result>,
) => Promise<Result>;

/** How a span that may be shared starts. */
export interface SharedSpanOptions extends Pick<SpanOptions, 'parent' | 'kind'> {
  /** Attributes of every span, shared or not. */
  readonly common?: Attributes;
  /** Attributes of a span that is not shared. */
  readonly attributes?: Attributes;
  /** Attribute of a shared span in their place: how many share it. */
  readonly count: string;
  /** Ids of the events that this piece of work stores; the span lists those of all pieces that succeeded. */
  readonly events?: readonly string[];
  /** Causes of those events; the span has links to their spans. */
  readonly causes?: readonly SpanCause[];
}

interface SharedSpan {
  readonly span: Span;
  readonly spanContext: Context;
  readonly options: SharedSpanOptions;
  readonly parts: SpanPart[];
  count: number;
  left: number;
  /** While others may join it. */
  isOpen: boolean;
}

/** Creates the shared spans of a tracer. */
export const sharedSpans = (tracer: Tracer): SharedSpans => {
  const joinable = new Map<string, SharedSpan>();

  const end = (shared: SharedSpan): void => {
    if (shared.isOpen || shared.left > 0) return;
    const { span, options, parts, count } = shared;
    const events = parts.flatMap((part) => part.events);
    span.setAttributes(count === 1 ? (options.attributes ?? {}) : { [options.count]: count });
    if (events.length > 0) span.setAttribute(DomainAttribute.events, events);
    addParts(span, parts);
    span.addLinks([...causeLinks(parts)]);
    span.end();
  };

  const begin = (key: string, name: string, options: SharedSpanOptions, parent: Context): SharedSpan => {
    const { kind = SpanKind.INTERNAL, common = {} } = options;
    const shared = {
      ...openSpan(tracer, name, { kind, attributes: common, parent }),
      options,
      parts: [],
      count: 0,
      left: 0,
      isOpen: true,
    };
    joinable.set(key, shared);
    queueMicrotask(() => {
      joinable.delete(key);
      shared.isOpen = false;
      end(shared);
    });
    return shared;
  };

  return async (name, options, fn) => {
    const { parent = context.active() } = options;
    const above = trace.getSpanContext(parent);
    if (above === undefined || !isReal(above)) {
      const { attributes, common, kind = SpanKind.INTERNAL, events = [], causes = [] } = options;
      const links = causeLinks([{ events, causes }]);
      return inSpan(tracer, name, { kind, attributes: { ...common, ...attributes }, links, parent }, async (span) => {
        const result = await fn();
        if (events.length > 0) span.setAttribute(DomainAttribute.events, [...events]);
        return result;
      });
    }
    const key = `${above.spanId} ${above.traceId} ${name}`;
    const shared = joinable.get(key) ?? begin(key, name, options, parent);
    shared.count += 1;
    const { events = [], causes = [] } = options;
    shared.left += 1;
    try {
      const result = await context.with(shared.spanContext, fn);
      if (events.length > 0) shared.parts.push({ events, causes });
      return result;
    } catch (error) {
      failSpan(shared.span, error);
      throw error;
    } finally {
      shared.left -= 1;
      end(shared);
    }
  };
};

/**
 * A context with one value in addition to those of another. The API's own class copies all values and creates functions for each
 * span. Here the running span is the only value, so it replaces the one before.
 */
class ContextWith implements Context {
  readonly #others: Context;
  readonly #key: symbol;
  readonly #value: unknown;
  constructor(others: Context, key: symbol, value: unknown) {
    this.#others = others;
    this.#key = key;
    this.#value = value;
  }
  getValue(key: symbol): unknown {
    return key === this.#key ? this.#value : this.#others.getValue(key);
  }
  setValue(key: symbol, value: unknown): Context {
    return new ContextWith(key === this.#key ? this.#others : this, key, value);
  }
  deleteValue(key: symbol): Context {
    return this.setValue(key, undefined);
  }
}

/** A context without a value, like `ROOT_CONTEXT`. */
const rootContext: Context = new ContextWith(ROOT_CONTEXT, Symbol('none'), undefined);

/** Starts a span that the caller ends, for work that is not one function: a stream. */
export function openSpan(
  tracer: Tracer,
  name: string,
  { kind = SpanKind.INTERNAL, attributes = {}, links = [], parent = context.active() }: SpanOptions,
): { readonly span: Span; readonly spanContext: Context } {
  const span = tracer.startSpan(name, { kind, attributes, links: [...links] }, parent);
  return { span, spanContext: trace.setSpan(parent === ROOT_CONTEXT ? rootContext : parent, span) };
}

/** Marks a span as failed. The status has no text: the name of the error is in error.type, and the log has its message with all causes. */
export function failSpan(span: Span, error: unknown): void {
  const name = error instanceof Error ? error.name : typeof error;
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute('error.type', name);
  if (error instanceof Error && 'reason' in error && typeof error.reason === 'string') {
    span.setAttribute(DomainAttribute.rejectionReason, error.reason);
  }
}

/** W3C trace context of the running span, for events, messages and calls; `undefined` outside any span. */
export function currentTraceparent(): string | undefined {
  return traceparentOf(trace.getSpanContext(context.active()));
}

/** `00-<trace id>-<span id>-<flags>`, or `undefined` for a span that is not valid (tracing is off). */
export function traceparentOf(span: SpanContext | undefined): string | undefined {
  if (span === undefined || !isReal(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, '0')}`;
}

/** Whether the context has a real span: without tracing the ids are zeros. The form of received ids was checked on arrival. */
const isReal = ({ traceId, spanId }: SpanContext): boolean => traceId !== INVALID_TRACEID && spanId !== INVALID_SPANID;

const isHexIn = (text: string, from: number, to: number): boolean => {
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at);
    if (!((code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66))) return false;
  }
  return true;
};

/** Whether a text has exactly the form of version 00, which `traceparentOf` writes. */
const isOfVersion00 = (text: string): boolean =>
  text.length === 55 &&
  text.startsWith('00-') &&
  text[35] === '-' &&
  text[52] === '-' &&
  isHexIn(text, 3, 35) &&
  isHexIn(text, 36, 52) &&
  isHexIn(text, 53, 55);

/** The span context of a traceparent; null if it is malformed. Nearly all have version 00, which needs no regular expression. */
const parsed = (traceparent: string | undefined): SpanContext | null => {
  if (traceparent === undefined) return null;
  if (!isOfVersion00(traceparent)) return parseTraceParent(traceparent);
  const traceId = traceparent.slice(3, 35);
  const spanId = traceparent.slice(36, 52);
  const said = { traceId, spanId, traceFlags: Number.parseInt(traceparent.slice(53), 16) };
  return isReal(said) ? said : null;
};

/**
 * A context whose spans continue that trace. A missing or malformed text starts a new trace, as W3C requires.
 * @param tracestate of the same caller; passed on unchanged
 */
export function contextFromTraceparent(traceparent: string | undefined, tracestate?: string): Context {
  const remote = parsed(traceparent);
  if (remote === null) return ROOT_CONTEXT;
  const state = tracestate === undefined ? {} : { traceState: createTraceState(tracestate) };
  return trace.setSpanContext(rootContext, { ...remote, ...state, isRemote: true });
}

/** What W3C propagates with a piece of work in addition to its span. */
export interface Propagated {
  readonly tracestate?: string | undefined;
  readonly baggage?: string | undefined;
}

/** The trace state and the baggage of the running work; empty if it has neither. */
export const runningPropagated = (): Propagated => {
  const active = context.active();
  const tracestate = trace.getSpanContext(active)?.traceState?.serialize();
  const baggage = baggageOf(active);
  return { ...(tracestate ? { tracestate } : {}), ...(baggage === undefined ? {} : { baggage }) };
};

/** The context of work that continues a trace, with trace state and baggage. */
export const contextOfWork = ({
  traceparent,
  tracestate,
  baggage,
}: Propagated & { readonly traceparent?: string | undefined }): Context =>
  withBaggage(contextFromTraceparent(traceparent, tracestate), baggage);

const baggagePropagator = new W3CBaggagePropagator();
type TextCarrier = Record<string, string>;

/** The context with the baggage of a W3C header; unchanged without one. */
export function withBaggage(parent: Context, header: string | undefined): Context {
  if (header === undefined) return parent;
  return baggagePropagator.extract(parent, { baggage: header } satisfies TextCarrier, defaultTextMapGetter);
}

/** The baggage of a context as a W3C header; undefined without one. */
export function baggageOf(active: Context): string | undefined {
  if (propagation.getBaggage(active) === undefined) return undefined;
  const carrier: TextCarrier = {};
  baggagePropagator.inject(active, carrier, defaultTextMapSetter);
  return carrier.baggage;
}

/** A link to the span of a traceparent; `undefined` if the traceparent is missing or malformed. */
export function linkTo(traceparent: string | undefined): Link | undefined {
  const remote = parsed(traceparent);
  return remote === null ? undefined : { context: { ...remote, isRemote: true } };
}

/** Links the running span to that of a traceparent; does nothing if there is none. */
export function linkRunningSpan(traceparent: string | undefined): void {
  const link = linkTo(traceparent);
  if (link !== undefined) trace.getSpan(context.active())?.addLink(link);
}

/** Trace id (32 hex digits) of a traceparent; `undefined` if the traceparent is missing or malformed. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return parsed(traceparent)?.traceId;
}
