import type { Span, SpanStore } from './spans.ts';

/** A span with what followed from it. */
export interface TraceNode {
  readonly span: Span;
  /** `parent`: called or done inside the span above; `link`: the span above is only named as a cause (a message in a batch). */
  readonly via: 'root' | 'parent' | 'link';
  /** By start. */
  readonly children: readonly TraceNode[];
}

/**
 * The trace as trees: one for each span whose parent was not received (normally one). Spans of other traces that link to
 * a span of this one follow it, with everything below them. No span appears twice.
 */
export function traceTree(store: SpanStore, traceId: string): TraceNode[] {
  const spans = store.spansOfTrace(traceId);
  const known = new Set(spans.map(({ spanId }) => spanId));
  const seen = new Set<Span>(spans);
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined || !known.has(parentSpanId));
  return roots.map((span) => nodeOf(store, span, 'root', seen));
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
 * The trees as text, one line a span: service and name, milliseconds since the first span began, duration, and what went
 * wrong. What follows by a link hangs on a dotted line.
 */
export function renderTrace(roots: readonly TraceNode[]): string {
  const lines = roots.flatMap((root) => linesOf(root, '', ''));
  const all = lines.map(({ span }) => span);
  const startMs = Math.min(...all.map((span) => span.startMs));
  const endMs = Math.max(...all.map((span) => span.startMs + span.durationMs));
  const [first] = all;
  if (first === undefined) return 'no spans of this trace were received';
  const width = Math.max(...lines.map(({ text }) => text.length));
  const services = new Set(all.map(({ service }) => service)).size;
  const title = `trace ${first.traceId}: ${all.length} spans, ${services} services, ${duration(endMs - startMs)}`;
  const rows = lines.map(({ text, span }) => {
    const offset = `+${(span.startMs - startMs).toFixed(1)}`.padStart(10);
    const failure = span.status === 'error' ? `  FAILED ${span.statusMessage}`.trimEnd() : '';
    return `${text.padEnd(width)}${offset}${duration(span.durationMs).padStart(12)}${failure}`;
  });
  return [title, ...rows].join('\n');
}

function linesOf(node: TraceNode, before: string, beforeChildren: string): { text: string; span: Span }[] {
  const { span, children } = node;
  const own = { text: `${before}${span.service}  ${span.name}`, span };
  return [
    own,
    ...children.flatMap((child, index) => {
      const isLast = index === children.length - 1;
      const stroke = child.via === 'link' ? '┄' : '─';
      return linesOf(
        child,
        `${beforeChildren}${isLast ? '└' : '├'}${stroke} `,
        `${beforeChildren}${isLast ? ' ' : '│'}  `,
      );
    }),
  ];
}

function duration(ms: number): string {
  return ms < 10_000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
