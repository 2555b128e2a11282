import { type Html, html, px } from '@interlock/lab/report/html';
import type { Kept } from './history.ts';
import { seriesOf, short } from './series.ts';
import { verdictsOf } from './targets.ts';

/** Runs in a plot. */
const runsMax = 24;
const [plotWidth, plotHeight] = [160, 36];

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: CanvasText; background: Canvas; color-scheme: light dark; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem; border-bottom: 1px solid color-mix(in srgb, CanvasText 20%, Canvas); vertical-align: top; }
.num { text-align: right; } .missed { color: #c0392b; font-weight: 600; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.5; }`;

/** A page without external resources: the newest line of each bench, thing and size, with targets, details and the ratio of each run. */
export const renderPage = (history: readonly Kept[]): string => {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interlock benches</title>
<style>${{ html: style }}</style>
</head>
<body>
<h1>Interlock benches</h1>
<p>Each value has a floor or peer, measured alternately with it in the same run. Ratio is value ÷ floor: high is good for rates, low for durations. Newest line: ${history.at(-1)?.time ?? ''}, ${history.at(-1)?.machine ?? ''}.</p>
<table>
<tr><th>Bench</th><th class="num">Size</th><th class="num">Value</th><th class="num">Floor</th><th>Unit</th><th class="num">Ratio</th><th>Ratio, run by run</th><th>Target</th><th class="num">Spread</th><th class="num">Samples</th><th>Commit</th><th>Also</th></tr>
${seriesOf(history).map(row)}
</table>
</body>
</html>
`.html;
};

const row = (lines: readonly Kept[]): Html => {
  const line = lines.at(-1);
  if (!line) return html``;
  const { time, bench, of, size, value, floor, unit, ratio, spread, samples, commit, machine: _, ...details } = line;
  return html`<tr><td>${bench}${of === undefined ? '' : `: ${of}`}</td><td class="num">${size.toLocaleString('en-US')}</td><td class="num">${short(value)}</td><td class="num">${short(floor)}</td><td>${unit}</td><td class="num">${short(ratio)}</td><td>${plot(lines)}</td><td>${verdictsOf(line).map(verdict)}</td><td class="num">${Math.round(spread * 100)} %</td><td class="num">${samples}</td><td>${commit}, ${time.slice(0, 10)}</td><td>${Object.entries(details).map(detail)}</td></tr>
`;
};

const verdict = (text: string): Html => html`<div class="${text.endsWith('missed') ? 'missed' : ''}">${text}</div>`;

const detail = ([name, value]: readonly [string, unknown]): Html =>
  html`<div>${name}: ${
    Array.isArray(value) ? value.map(short).join(', ') : typeof value === 'number' ? short(value) : String(value)
  }</div>`;

/** The ratio of the last runs, from 0 at the bottom to the largest at the top. */
const plot = (lines: readonly Kept[]): Html => {
  const ratios = lines.slice(-runsMax).map(({ ratio }) => ratio);
  if (ratios.length < 2) return html``;
  const most = Math.max(...ratios);
  const points = ratios.map(
    (ratio, n) => `${px((n * plotWidth) / (ratios.length - 1))},${px(plotHeight * (1 - ratio / most))}`,
  );
  return html`<svg width="${plotWidth}" height="${plotHeight}"><title>${ratios.map(short).join(', ')}</title><polyline points="${points.join(' ')}"/></svg>`;
};
