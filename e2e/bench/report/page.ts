import { type Html, html } from '../../rehearsal/report/html.ts';
import type { Kept } from '../history.ts';
import { inWords, isReached, targetsFor } from '../targets.ts';
import { draw, short } from './chart.ts';
import { byThing, plotsOf } from './plots.ts';
import { style } from './style.ts';

/** A page that needs nothing from outside: what benches measured, as figures and as plots. */
export const renderPage = (history: readonly Kept[]): string => {
  const names = [...new Set(history.map(({ bench }) => bench))].toSorted();
  const newest = history.at(-1);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Interlock benches</title>
<style>${{ html: style }}</style>
</head>
<body>
<main>
<h1>Interlock benches</h1>
<p>Every figure stands beside a floor or a peer measured in the same run, in turn with it, on the same machine. A ratio is the figure divided by that floor: of a rate more is better, of a duration less.</p>
<p class="note">${history.length} lines of ${names.length} benches, the newest of ${newest?.time ?? ''} on ${newest?.machine ?? ''}.</p>
${latest(history)}
${names.map((name) => section(history.filter(({ bench }) => bench === name)))}
</main>
</body>
</html>
`;
  return page.html;
};

/** The newest line of each bench, thing and size. */
const newestLines = (history: readonly Kept[]): readonly Kept[] =>
  [...new Map(history.map((line) => [`${line.bench} ${line.of} ${line.size}`, line])).values()].toSorted(
    (a, b) => a.bench.localeCompare(b.bench) || (a.of ?? '').localeCompare(b.of ?? '') || a.size - b.size,
  );

const latest = (history: readonly Kept[]): Html => html`<section>
<h2>Newest of each</h2>
<div class="scroll"><table>
<tr><th>bench</th><th class="num">size</th><th class="num">measured</th><th class="num">floor</th><th>unit</th><th class="num">ratio</th><th>target</th><th class="num">spread</th><th class="num">samples</th><th>commit</th><th>when</th></tr>
${newestLines(history).map(
  (
    line,
  ) => html`<tr><td>${line.bench}${line.of === undefined ? '' : `: ${line.of}`}</td><td class="num">${line.size.toLocaleString('en-US')}</td><td class="num">${short(line.value)}</td><td class="num">${short(line.floor)}</td><td>${line.unit}</td><td class="num strong">${short(line.ratio)}</td><td class="verdicts">${verdicts(line)}</td><td class="num">${Math.round(line.spread * 100)} %</td><td class="num">${line.samples}</td><td class="mono">${line.commit}</td><td>${line.time.slice(0, 10)}</td></tr>
`,
)}
</table></div>
</section>`;

const verdicts = (line: Kept): readonly Html[] =>
  targetsFor(line).map((target) => {
    const reached = isReached(line, target);
    const [kind, word] =
      reached === undefined ? ['none', 'not measured'] : reached ? ['pass', 'reached'] : ['fail', 'missed'];
    return html`<span class="verdict ${kind}" title="${word}">${inWords(target)} ${word}</span> `;
  });

const section = (lines: readonly Kept[]): Html => html`<section>
<h2>${lines[0]?.bench ?? ''}</h2>
<div class="plots">
${[...byThing(lines)].flatMap(([thing, some]) => plotsOf(some, thing)).map(draw)}
</div>
${details(lines)}
</section>`;

const known = new Set([
  'time',
  'bench',
  'size',
  'of',
  'value',
  'unit',
  'floor',
  'ratio',
  'spread',
  'samples',
  'commit',
  'machine',
]);

/** What the newest lines say beside the figure and its floor. */
const details = (lines: readonly Kept[]): Html => {
  const newest = newestLines(lines);
  const names = [...new Set(newest.flatMap((line) => Object.keys(line)))].filter(
    (name) => !known.has(name) && newest.some((line) => typeof line[name] !== 'object'),
  );
  if (names.length === 0) return html``;
  const isOfSeveral = newest.some(({ of }) => of !== undefined);
  return html`<div class="scroll"><table>
<tr>${isOfSeveral ? html`<th>of</th>` : ''}<th class="num">size</th>${names.map((name) => html`<th class="num">${name}</th>`)}</tr>
${newest.map(
  (
    line,
  ) => html`<tr>${isOfSeveral ? html`<td>${line.of ?? ''}</td>` : ''}<td class="num">${line.size.toLocaleString('en-US')}</td>${names.map((name) => html`<td class="num">${written(line[name])}</td>`)}</tr>
`,
)}
</table></div>`;
};

const written = (value: unknown): string =>
  typeof value === 'number' ? short(value) : typeof value === 'string' ? value : '–';
