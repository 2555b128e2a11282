import { untimed } from '../steps/stopwatch.ts';
import { duration, type Html, html } from './html.ts';
import type { Quantiles } from './quantiles.ts';
import type { Report } from './report.ts';

/** How long each way to lose a key takes to act, and the way back to work. */
export function stopwatch({ stopwatch: timed, stopwatchTotal: total }: Report): Html {
  const columns = ['p50', 'p95', 'p99', 'max'] as const;
  const cells = (quantiles: Quantiles, count: number): Html[] =>
    columns.map((part) => html`<td class="num">${count < fewest[part] ? '–' : signed(quantiles[part])}</td>`);
  const heads = columns.map((part, n) => html`<th class="num ${n === 0 ? 'first' : ''}">${part}</th>`);
  return html`<div class="scroll"><table class="figures-table"><thead>
    <tr><th></th><th></th><th colspan="4" class="group">last good read or write</th><th colspan="4" class="group">machine is off</th><th colspan="4" class="group">runs again</th></tr>
    <tr><th>Cause</th><th class="num">Machines</th>${heads}${heads}${heads}</tr></thead><tbody>
    ${[...timed, ...(total === null ? [] : [{ cause: 'every cause', reason: '', ...total }])].map(
      ({ cause, reason, machines, toLastGoodIoMs, toStoppedMs, toRunningMs }) => html`<tr>
      <td>${cause}<div class="tag mono">${reason}</div></td><td class="num">${machines}</td>
      ${cells(toLastGoodIoMs, machines)}${cells(toStoppedMs, machines)}${cells(toRunningMs, machines)}</tr>`,
    )}</tbody></table></div>
    <p class="note">A p95 of fewer than ${fewest.p95} machines, or a p99 of fewer than ${fewest.p99}, would be the slowest of them: –. Not timed here: ${untimed.map(({ name, why }) => `${name} (${why})`).join('; ')}.</p>`;
}

/** Durations without which a quantile is just the largest of them. */
const fewest = { p50: 1, p95: 20, p99: 100, max: 1 } as const;

/** A duration; negative where it was over before the loss. */
const signed = (ms: number): string => (ms < 0 ? `−${duration(-ms)}` : duration(ms));
