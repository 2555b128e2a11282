import { duration, type Html, html } from '@interlock/lab/report/html';
import type { Quantiles } from '@interlock/lab/report/quantiles';
import { untimed } from '../steps/stopwatch.ts';
import type { Report } from './report.ts';

/** What is timed for each machine. */
const timings = [
  { of: 'toLastGoodIoMs', words: 'last good read or write', short: 'last good' },
  { of: 'toStoppedMs', words: 'machine is off', short: 'off' },
  { of: 'toRunningMs', words: 'runs again', short: 'runs again' },
] as const;
/** A cause has a few machines, too few for a p95: it would be the slowest of them. */
const columns = ['p50', 'max'] as const;
/** The least number of durations for each quantile: with fewer it is just the largest of them. */
const tails = [
  { part: 'p95', fewest: 20 },
  { part: 'p99', fewest: 100 },
] as const;

/** How long each way to lose a key takes to act, and how long the restore takes. */
export function stopwatch({ stopwatch: timed, stopwatchTotal: total }: Report): Html {
  const cells = (quantiles: Quantiles, short: string): Html[] =>
    columns.map((part) => html`<td class="num" data-label="${short}, ${part}">${duration(quantiles[part])}</td>`);
  const heads = timings.flatMap(() => columns.map((part) => html`<th class="num">${part}</th>`));
  return html`<div class="scroll"><table class="figures-table stack"><thead>
    <tr><th></th><th></th>${timings.map(({ words }) => html`<th colspan="${columns.length}" class="group">${words}</th>`)}</tr>
    <tr><th>Cause</th><th class="num">Machines</th>${heads}</tr></thead><tbody>
    ${[...timed, ...(total === null ? [] : [{ cause: 'every cause', reason: '', ...total }])].map(
      (one) => html`<tr>
      <td>${one.cause}<div class="tag mono">${one.reason}</div></td><td class="num all" data-label="machines">${one.machines}</td>
      ${timings.map(({ of, short }) => cells(one[of], short))}</tr>`,
    )}</tbody></table></div>
    <p class="note">${total === null ? '' : tailsOf(total)}Not timed here: ${untimed.map(({ name, why }) => `${name} (${why})`).join('; ')}.</p>`;
}

/** The quantiles that need all machines together. */
function tailsOf(total: NonNullable<Report['stopwatchTotal']>): string {
  const known = tails.filter(({ fewest }) => total.machines >= fewest);
  const words = known.map(
    ({ part }) => `${part} ${timings.map(({ of, words }) => `${duration(total[of][part])} (${words})`).join(', ')}`,
  );
  return words.length === 0 ? '' : `Of all ${total.machines} machines: ${words.join('; ')}. `;
}
