import { type Html, html, px } from '@interlock/lab/report/html';
import { document } from '@interlock/lab/report/page';
import type { Curve, StudyFigures } from './figures.ts';

const [width, height, left, bottom, top, right] = [560, 260, 44, 34, 12, 150] as const;
const colours = ['var(--compute)', 'var(--work)', 'var(--stop)', 'var(--key)'];

/** A plot of curves: y from 0 to 1, x evenly spaced, because the varied quantity grows by factors. */
const plot = (title: string, xTitle: string, curves: readonly Curve[], name: (x: number) => string): Html => {
  const xs = curves[0]?.points.map(({ x }) => x) ?? [];
  const atX = (index: number): number => left + (index * (width - left - right)) / Math.max(1, xs.length - 1);
  const atY = (y: number): number => height - bottom - y * (height - bottom - top);
  return html`<section><h2>${title}</h2>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">
${[0, 0.25, 0.5, 0.75, 1].map(
  (y) =>
    html`<line x1="${left}" x2="${width - right}" y1="${px(atY(y))}" y2="${px(atY(y))}" stroke="var(--line)"/><text x="${left - 8}" y="${px(atY(y) + 4)}" text-anchor="end">${y}</text>`,
)}
${xs.map((x, index) => html`<text x="${px(atX(index))}" y="${height - bottom + 16}" text-anchor="middle">${name(x)}</text>`)}
<text x="${px((left + width - right) / 2)}" y="${height - 2}" text-anchor="middle">${xTitle}</text>
${curves.map((curve, at) => line(curve, colours[at % colours.length] ?? '', atX, atY, 20 + at * 20))}
</svg></section>`;
};

const line = (
  { name, points }: Curve,
  colour: string,
  atX: (index: number) => number,
  atY: (y: number) => number,
  legendY: number,
): Html => {
  const at = points.map(({ y }, index) => `${px(atX(index))},${px(atY(y))}`).join(' ');
  const legendX = width - right + 14;
  return html`<polyline points="${at}" fill="none" stroke="${colour}" stroke-width="2"/>
${points.map(({ y }, index) => html`<circle cx="${px(atX(index))}" cy="${px(atY(y))}" r="3" fill="${colour}"/>`)}
<line x1="${legendX}" x2="${legendX + 16}" y1="${legendY}" y2="${legendY}" stroke="${colour}" stroke-width="2"/><text x="${legendX + 22}" y="${legendY + 4}">${name}</text>`;
};

/** Policies by the share of spans they keep and the share of edges that these still explain. */
const samplingPlot = ({ sampling }: StudyFigures): Html => {
  const kinds = [...new Set(sampling.map(({ policy }) => policy.split(':')[0] ?? ''))];
  const atX = (kept: number): number => left + kept * (width - left - right);
  const atY = (y: number): number => height - bottom - y * (height - bottom - top);
  const ticks = [0, 0.25, 0.5, 0.75, 1];
  return html`<section><h2>Sampling: stops that can still be explained, by spans kept</h2>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Sampling policies">
${ticks.map(
  (y) =>
    html`<line x1="${left}" x2="${width - right}" y1="${px(atY(y))}" y2="${px(atY(y))}" stroke="var(--line)"/><text x="${left - 8}" y="${px(atY(y) + 4)}" text-anchor="end">${y}</text><text x="${px(atX(y))}" y="${height - bottom + 16}" text-anchor="middle">${y * 100} %</text>`,
)}
${sampling.map(({ policy, kept, explained }) => {
  const colour = colours[kinds.indexOf(policy.split(':')[0] ?? '') % colours.length] ?? '';
  return html`<circle cx="${px(atX(kept))}" cy="${px(atY(explained))}" r="5" fill="${colour}"/><text x="${px(atX(kept) + 8)}" y="${px(atY(explained) + 4)}">${policy}</text>`;
})}
</svg></section>`;
};

/** The study as a page without external resources. */
export const studyPage = (figures: StudyFigures): string =>
  document(
    'Tracing study',
    html`<p class="brand">Interlock</p><h1>How much of the true causes do traces show?</h1>
<p>${figures.runs} runs of “${figures.title}”: ${figures.spans} spans, ${figures.events} stored events, ${figures.edges} causal edges. The edges come from the event stores, not from telemetry. docs/tracing-study.md explains the figures.</p>
${plot('Recall of edges, by lost spans', 'spans lost', figures.loss, (x) => `${x * 100} %`)}
${plot('Recall of edges, by clock skew of compute', 'clock behind', figures.skew, (x) => `${x} ms`)}
${samplingPlot(figures)}
`,
  );
