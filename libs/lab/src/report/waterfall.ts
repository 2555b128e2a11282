import { shortName } from '../short-name.ts';
import type { Span } from '../spans/span-store.ts';
import { spanStore } from '../spans/span-store.ts';
import { type TraceNode, traceTree } from '../spans/trace-tree.ts';
import { duration, type Html, html } from './html.ts';

/** More rows show nothing new, because the machines of one loss look alike. */
const rowsMax = 120;

/** One trace: each span at its place in the tree, with a bar at its place in time. */
export function waterfall({ traceId, spans }: { readonly traceId: string; readonly spans: readonly Span[] }): Html {
  if (spans.length === 0) return html`<p>No spans of this trace were received.</p>`;
  const store = spanStore();
  store.add(spans);
  const roots = traceTree(store, traceId);
  const rows = roots.flatMap((root) => rowsOf(root, 0));
  const missing = new Set(roots.flatMap((root) => root.missing ?? []));
  const fromMs = Math.min(...spans.map(({ startMs }) => startMs));
  const wholeMs = Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs)) - fromMs || 1;
  return html`<div class="rows">${rows.slice(0, rowsMax).map(({ span, depth }) => {
    const left = ((span.startMs - fromMs) / wholeMs) * 86;
    const width = (span.durationMs / wholeMs) * 86;
    return html`<div class="row">
      <div class="what" style="padding-left: ${depth * 13}px" title="${span.name}"><em style="color: var(--${span.service}, var(--soft))">${span.service}</em>${shortName(span.name)}</div>
      <div class="track"><i style="left: ${left.toFixed(2)}%; width: ${width.toFixed(2)}%; background: var(--${span.service}, var(--faint))"></i><span style="left: ${(left + width).toFixed(2)}%">${duration(span.durationMs)}${span.status === 'error' ? html` <b class="error">refused</b>` : ''}</span></div>
    </div>`;
  })}</div>
  ${missing.size > 0 ? html`<p>${missing.size} more spans were not received, so what hangs on them stands by itself: a killed process never sends its open spans.</p>` : ''}
  ${rows.length > rowsMax ? html`<p>… and ${rows.length - rowsMax} more.</p>` : ''}`;
}

function rowsOf({ span, children }: TraceNode, depth: number): { readonly span: Span; readonly depth: number }[] {
  return [{ span, depth }, ...children.flatMap((child) => rowsOf(child, depth + 1))];
}
