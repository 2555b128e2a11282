import type { Span, SpanStore } from './span-store.ts';

/** A span with the spans that followed from it. */
export interface TraceNode {
  readonly span: Span;
  /** `parent`: called or done inside the span above; `link`: the span above is only named as a cause (a message in a batch). */
  readonly via: 'root' | 'parent' | 'link';
  /**
   * Id of the parent or cause that was not received: its process ended before the export, the span has not ended, or it is
   * exported elsewhere.
   */
  readonly missing?: string;
  /** By start. */
  readonly children: readonly TraceNode[];
}

/**
 * The trace as trees: normally one, and one for each span whose parent was not received. Spans of other traces that link to
 * a span of this one follow it, with everything below them. Spans that link to one that was not received are roots too. No
 * span appears twice.
 */
export function traceTree(store: SpanStore, traceId: string): TraceNode[] {
  const spans = store.spansOfTrace(traceId);
  const known = new Set(spans.map(({ spanId }) => spanId));
  const seen = new Set<Span>(spans);
  const isMissing = (spanId: string | undefined): spanId is string => spanId !== undefined && !known.has(spanId);
  const roots = spans
    .filter(({ parentSpanId }) => parentSpanId === undefined || isMissing(parentSpanId))
    .map((span): TraceNode => {
      const node = nodeOf(store, span, 'root', seen);
      return isMissing(span.parentSpanId) ? { ...node, via: 'parent', missing: span.parentSpanId } : node;
    });
  const causes = (span: Span) => span.links.filter((link) => link.traceId === traceId).map(({ spanId }) => spanId);
  const linked = store.spansLinkingInto(traceId).flatMap((span): TraceNode[] => {
    const missing = causes(span).find(isMissing);
    if (missing === undefined || seen.has(span)) return [];
    seen.add(span);
    return [{ ...nodeOf(store, span, 'link', seen), missing }];
  });
  return [...roots, ...linked];
}

function nodeOf(store: SpanStore, span: Span, via: TraceNode['via'], seen: Set<Span>): TraceNode {
  const inside = store.spansOfTrace(span.traceId).filter(({ parentSpanId }) => parentSpanId === span.spanId);
  const linking = store.spansLinkingTo(span).filter((candidate) => !seen.has(candidate));
  for (const next of [...inside, ...linking]) seen.add(next);
  const children = [
    ...inside.map((child) => nodeOf(store, child, 'parent', seen)),
    ...linking.map((child) => nodeOf(store, child, 'link', seen)),
  ];
  return { span, via, children: children.sort((a, b) => a.span.startMs - b.span.startMs) };
}

/**
 * The trees as text, one line for each span: service and name, milliseconds since the start of the first span, duration, and
 * the error. A span that follows by a link is on a dotted line.
 */
export function renderTrace(roots: readonly TraceNode[]): string {
  const missing = [...new Set(roots.flatMap((root) => root.missing ?? []))];
  const lines = [
    ...roots.filter((root) => root.missing === undefined).flatMap((root) => linesOf(root, '', '')),
    ...missing.flatMap((spanId) =>
      orphanLines(
        spanId,
        roots.filter((root) => root.missing === spanId),
      ),
    ),
  ];
  const all = lines.flatMap(({ span }) => span ?? []);
  const startMs = Math.min(...all.map((span) => span.startMs));
  const endMs = Math.max(...all.map((span) => span.startMs + span.durationMs));
  const [first] = all;
  if (first === undefined) return 'no spans of this trace were received';
  const width = Math.max(...lines.map(({ text, span }) => (span === undefined ? 0 : text.length)));
  const services = new Set(all.map(({ service }) => service)).size;
  const gaps = missing.length === 0 ? '' : `; ${missing.length} not received`;
  const title = `trace ${first.traceId}: ${all.length} spans, ${services} services, ${duration(endMs - startMs)}${gaps}`;
  const rows = lines.map(({ text, span }) => {
    if (span === undefined) return text;
    const offset = `+${(span.startMs - startMs).toFixed(1)}`.padStart(10);
    const why = span.statusMessage || String(span.attributes['error.type'] ?? '');
    const failure = span.status === 'error' ? `  FAILED ${why}`.trimEnd() : '';
    return `${text.padEnd(width)}${offset}${duration(span.durationMs).padStart(12)}${failure}`;
  });
  return [title, ...rows].join('\n');
}

/** A line, and its span; none if the span was not received. */
interface Line {
  readonly text: string;
  readonly span: Span | undefined;
}

function linesOf({ span, children }: TraceNode, before: string, beforeChildren: string): Line[] {
  return [{ text: `${before}${span.service}  ${span.name}`, span }, ...childLines(children, beforeChildren)];
}

/** The children and followers of a span that was not received. */
function orphanLines(spanId: string, children: readonly TraceNode[]): Line[] {
  const text = `(span ${spanId} was not received: its process ended before the export, it has not ended, or it is exported elsewhere)`;
  return [{ text, span: undefined }, ...childLines(children, '')];
}

function childLines(children: readonly TraceNode[], before: string): Line[] {
  return children.flatMap((child, index) => {
    const isLast = index === children.length - 1;
    const stroke = child.via === 'link' ? '┄' : '─';
    return linesOf(child, `${before}${isLast ? '└' : '├'}${stroke} `, `${before}${isLast ? ' ' : '│'}  `);
  });
}

function duration(ms: number): string {
  return ms < 10_000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
