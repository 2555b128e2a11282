import { actionInWords } from '../../timeline/actions.ts';
import { className } from '../class-names.ts';
import { outcomeLabels } from '../experiment/headline.ts';
import { duration, type Html, html, px } from '../html.ts';
import { document } from '../page.ts';
import { countsOf, decisive, type MatrixCell, slowestOf, tailOf } from './cell.ts';

const [plotWidth, plotHeight] = [64, 14];

const style = `
.matrices { display: grid; grid-template-columns: repeat(auto-fit, minmax(470px, 1fr)); gap: 20px; }
.matrix td { padding: 4px; border: 0; } .matrix th { padding: 4px; } .matrix td:first-child { font-size: 13px; min-width: 110px; overflow-wrap: anywhere; vertical-align: middle; }
.cell { display: block; padding: 6px 8px; border-radius: 7px; min-height: 58px; text-decoration: none; font-variant-numeric: tabular-nums; } .cell b { display: block; font-size: 15px; } .cell small { display: block; font-size: 11px; line-height: 1.3; }
a.cell:hover { outline: 2px solid currentColor; } .cell svg { width: ${plotWidth}px; height: ${plotHeight}px; margin-top: 2px; } .cell polyline { fill: none; stroke: currentColor; stroke-width: 1.5; }
.missing { color: var(--faint); background: var(--paper); }
@media (max-width: 640px) { .matrices { grid-template-columns: 1fr; } .matrix td { padding: 2px; } .matrix td:first-child { min-width: 0; font-size: 11.5px; } .cell { padding: 4px 5px; } .cell b { font-size: 13px; } .cell small { font-size: 9.5px; } .cell svg { width: 100%; } }
@media print { .matrices { grid-template-columns: 1fr 1fr; gap: 10px; } .matrices section { break-inside: avoid; } .cell { min-height: 0; padding: 3px 4px; } .cell b { font-size: 11px; } .cell small { font-size: 8px; } .matrix td { padding: 1px 2px; } .matrix td:first-child { font-size: 9px; min-width: 0; } }
`;

/**
 * All cells of a matrix on one page: a table for each fault, with causes as rows and classes as columns.
 * @param title of the runs
 */
export const matrixPage = (cells: readonly MatrixCell[], title = 'Causes, classes and faults'): string =>
  document(
    title,
    html`<header>
  <span class="brand">Interlock experiments</span>
  <p class="subject">${title}</p>
  <h1>${headline(cells)}</h1>
  <p>A cell is a way to lose access, on one class of disks, while a part of the cloud is disturbed. It shows the time from the
  access loss until the last machine was off, the slowest of all repeats, and its verdict. The line is the maximum after one repeat, after
  two, and so on: if it still grows at its end, more repeats are needed.</p>
  <div class="figures">${[...countsOf(cells)].map(
    ([outcome, count]) =>
      html`<div class="figure"><b>${count}</b><span class="verdict ${outcomeLabels[outcome].colour}">${outcomeLabels[outcome].words}</span></div>`,
  )}</div>
</header>
<div class="matrices">${[...Map.groupBy(cells, ({ fault }) => fault)].map(([fault, ofFault]) => matrix(fault, ofFault))}</div>
${troubles(cells)}
<section>
  <h2>How the tail grows with repeats</h2>
  ${growth(cells)}
</section>`,
    style,
  );

function headline(cells: readonly MatrixCell[]): string {
  if (cells.length === 0) return 'No cell was run.';
  const held = countsOf(cells).get('held') ?? 0;
  const slowest = cells
    .flatMap((cell) => cell.repeats.map((repeat) => ({ cell, ms: slowestOf(repeat) ?? -Infinity })))
    .reduce((most, one) => (one.ms > most.ms ? one : most), { cell: cells[0], ms: -Infinity });
  const { cell, ms } = slowest;
  const most =
    cell === undefined || ms === -Infinity
      ? ''
      : `; the slowest stop took ${duration(ms)} (${actionInWords(cell.cause)}, ${className(cell.diskClass)}, ${faultInWords(cell.fault)})`;
  return `${held === cells.length ? 'Every' : `${held} of ${cells.length}`} cell${held === cells.length ? '' : 's'} held${most}.`;
}

const faultInWords = (fault: string): string => (fault === 'none' ? 'nothing disturbed' : fault);

function matrix(fault: string, cells: readonly MatrixCell[]): Html {
  const classes = [...new Set(cells.map(({ diskClass }) => diskClass))];
  return html`<section>
  <h2>${fault === 'none' ? 'Nothing disturbed' : fault}</h2>
  <table class="matrix"><thead><tr><th></th>${classes.map((one) => html`<th>${className(one)}</th>`)}</tr></thead><tbody>
  ${[...Map.groupBy(cells, ({ cause }) => cause)].map(
    ([cause, ofCause]) =>
      html`<tr><td>${actionInWords(cause)}</td>${classes.map((one) => html`<td>${shown(ofCause.find(({ diskClass }) => diskClass === one))}</td>`)}</tr>`,
  )}</tbody></table>
</section>`;
}

function shown(cell: MatrixCell | undefined): Html {
  const repeat = cell === undefined ? undefined : decisive(cell);
  if (cell === undefined || repeat === undefined) return html`<span class="cell missing">not run</span>`;
  const { words, colour } = outcomeLabels[repeat.verdict.outcome];
  const tail = tailOf(cell);
  const content = html`<b>${tail.length === 0 ? 'no stop' : duration(tail.at(-1) ?? 0)}</b><small>${words}</small>${plot(tail)}`;
  return repeat.report === undefined
    ? html`<span class="cell ${colour}">${content}</span>`
    : html`<a class="cell ${colour}" href="${repeat.report}" title="${repeat.verdict.because}">${content}</a>`;
}

/** The maximum after each repeat, from 0 at the bottom. */
function plot(tail: readonly number[]): Html {
  const most = tail.at(-1) ?? 0;
  if (tail.length < 2 || most <= 0) return html``;
  const points = tail.map(
    (ms, n) => `${px((n * plotWidth) / (tail.length - 1))},${px(1 + (plotHeight - 2) * (1 - Math.max(0, ms) / most))}`,
  );
  return html`<svg viewBox="0 0 ${plotWidth} ${plotHeight}" role="img" aria-label="Maximum after each repeat"><polyline points="${points.join(' ')}"/></svg>
    <small>first ${duration(tail[0] ?? 0)}</small>`;
}

/** Each cell that did not hold, and why. */
function troubles(cells: readonly MatrixCell[]): Html {
  const rows = cells.flatMap((cell) => {
    const repeat = decisive(cell);
    return repeat === undefined || repeat.verdict.outcome === 'held' ? [] : [{ cell, verdict: repeat.verdict }];
  });
  if (rows.length === 0) return html``;
  return html`<section><h2>What did not hold, or proves nothing</h2><table class="rules verdicts"><tbody>${rows.map(
    ({ cell, verdict: { outcome, because } }) => html`<tr>
    <td><span class="tick ${outcomeLabels[outcome].colour}">${outcomeLabels[outcome].words}</span></td>
    <td><div class="title">${actionInWords(cell.cause)}, ${className(cell.diskClass)}, ${faultInWords(cell.fault)}</div><div class="evidence">${because}</div></td></tr>`,
  )}</tbody></table></section>`;
}

/** The slowest of all cells after each repeat, and how many cells grew in it. */
function growth(cells: readonly MatrixCell[]): Html {
  const tails = cells.map(tailOf);
  const repeats = tails.reduce((most, { length }) => Math.max(most, length), 0);
  if (repeats < 2)
    return html`<p>Every cell ran once: how far the tail reaches is not known. Use <code>--repeat</code>.</p>`;
  const rows = Array.from({ length: repeats }, (_, n) => {
    const known = tails.flatMap((tail) => tail[Math.min(n, tail.length - 1)] ?? []);
    const grew = tails.filter((tail) => n > 0 && (tail[n] ?? -Infinity) > (tail[n - 1] ?? Infinity)).length;
    return { most: known.reduce((a, b) => Math.max(a, b), -Infinity), grew };
  });
  return html`<table class="figures-table"><thead><tr><th>Repeats</th><th class="num">Slowest of all cells</th><th class="num">Cells whose maximum grew in this repeat</th></tr></thead><tbody>
  ${rows.map(({ most, grew }, n) => html`<tr><td>${n + 1}</td><td class="num">${duration(most)}</td><td class="num">${n === 0 ? '–' : `${grew} of ${cells.length}`}</td></tr>`)}</tbody></table>`;
}
