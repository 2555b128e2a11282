/** A value of an attribute; a map arrives as the text of its JSON. */
export type AttributeValue = string | number | boolean | readonly AttributeValue[];

export type Attributes = Readonly<Record<string, AttributeValue>>;

/** A span that another one caused without being its parent: a message handled in a batch. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: Attributes;
}

/** Kinds and statuses of spans, in the order of their numbers in OTLP. */
export const spanKinds = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'] as const;
export const spanStatuses = ['unset', 'ok', 'error'] as const;

/** A finished span. */
export interface Span {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly service: string;
  readonly name: string;
  readonly kind: (typeof spanKinds)[number];
  /** Milliseconds since the epoch, with microseconds after the point. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly status: (typeof spanStatuses)[number];
  readonly statusMessage: string;
  readonly attributes: Attributes;
  readonly links: readonly SpanLink[];
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: Attributes }[];
}

/** The latest spans of a cloud. */
export interface SpanStore {
  add(spans: readonly Span[]): void;
  /** Spans of one trace, by start. */
  spansOfTrace(traceId: string): readonly Span[];
  /** Spans that link to the given one, by start. */
  spansLinkingTo(span: Pick<Span, 'traceId' | 'spanId'>): readonly Span[];
  /** Spans that link to any span of that trace, received or not, by start. */
  spansLinkingInto(traceId: string): readonly Span[];
  /** Spans with that attribute, or with that value of it, by start. */
  findByAttribute(key: string, value?: AttributeValue): readonly Span[];
  /** How many spans the store holds, and how many it dropped because there were more than `capacity`. */
  count(): { readonly held: number; readonly dropped: number };
}

/** A revocation of 1,000 machines makes about ten thousand. At about 1 KiB each this is at most 100 MiB. */
const defaultCapacity = 100_000;

/** Keeps the last `capacity` spans in memory, and drops the oldest first. */
export function spanStore(capacity: number = defaultCapacity): SpanStore {
  const ring: Span[] = [];
  const byTrace = new Map<string, Set<Span>>();
  const byLink = new Map<string, Set<Span>>();
  const byLinkedTrace = new Map<string, Set<Span>>();
  let next = 0;
  let dropped = 0;

  const insert = (span: Span) => {
    const oldest = ring[next];
    if (oldest !== undefined) {
      remove(byTrace, oldest.traceId, oldest);
      for (const link of oldest.links) {
        remove(byLink, nameOf(link), oldest);
        remove(byLinkedTrace, link.traceId, oldest);
      }
      dropped += 1;
    }
    ring[next] = span;
    next = (next + 1) % capacity;
    collect(byTrace, span.traceId, span);
    for (const link of span.links) {
      collect(byLink, nameOf(link), span);
      collect(byLinkedTrace, link.traceId, span);
    }
  };
  return {
    add: (spans) => spans.forEach(insert),
    spansOfTrace: (traceId) => sorted(byTrace.get(traceId) ?? []),
    spansLinkingTo: (span) => sorted(byLink.get(nameOf(span)) ?? []),
    spansLinkingInto: (traceId) => sorted(byLinkedTrace.get(traceId) ?? []),
    findByAttribute: (key, value) =>
      sorted(ring.filter(({ attributes }) => (value === undefined ? key in attributes : attributes[key] === value))),
    count: () => ({ held: ring.length, dropped }),
  };
}

function nameOf({ traceId, spanId }: Pick<Span, 'traceId' | 'spanId'>): string {
  return `${traceId}:${spanId}`;
}

function sorted(spans: Iterable<Span>): readonly Span[] {
  return [...spans].sort((a, b) => a.startMs - b.startMs);
}

function collect(index: Map<string, Set<Span>>, key: string, span: Span): void {
  const spans = index.get(key);
  if (spans === undefined) index.set(key, new Set([span]));
  else spans.add(span);
}

function remove(index: Map<string, Set<Span>>, key: string, span: Span): void {
  const spans = index.get(key);
  spans?.delete(span);
  if (spans?.size === 0) index.delete(key);
}
