import type { GroupFigures, Quantiles, Verdict } from '../../verdict.ts';
import { duration, type Html, html } from '../html.ts';

/** The measured times of a group. */
const columns: readonly {
  readonly title: string;
  readonly short: string;
  readonly of: (group: GroupFigures) => Quantiles;
}[] = [
  { title: 'Last good read', short: 'last good read', of: ({ lastGoodRead }) => lastGoodRead },
  { title: 'Last good write', short: 'last good write', of: ({ lastGoodWrite }) => lastGoodWrite },
  { title: 'Stopped', short: 'stopped', of: ({ stopped }) => stopped },
  { title: 'Start refused', short: 'start refused', of: ({ startRefused }) => startRefused },
  { title: 'Back at work', short: 'back at work', of: ({ back }) => back },
  { title: 'Longest pause', short: 'longest pause', of: ({ gap }) => gap },
];

/** Treatment and control groups: the longest of each time, with p95 and p50 below. */
export function figuresTable({ groups, bytesCompared, bytesLost }: Verdict): Html {
  const rows = groups.toSorted((a, b) => Number(a.role === 'control') - Number(b.role === 'control'));
  if (rows.length === 0) return html`<p>No group was measured.</p>`;
  return html`<div class="scroll"><table class="figures-table stack"><thead>
    <tr><th>Group</th>${columns.map(({ title }) => html`<th class="num">${title}</th>`)}<th class="num">Failed operations</th></tr></thead><tbody>
    ${rows.map((group) => row(group))}</tbody></table></div>
    <p class="note">Large: the slowest machine. Below it, 95 and 50 of 100 machines of the group were at most that late (p95, p50). Times count from the access loss that concerns
    the group, “back at work” from the step that gave access back; a minus sign means before it. “Longest pause” is the longest time between two
    good operations of a disk. –: did not happen.</p>
    <p class="note">Content: ${bytes(bytesCompared)} compared with what the guests recorded, <b class="${bytesLost > 0 ? 'error' : ''}">${bytes(bytesLost)} lost</b>.</p>`;
}

const row = (group: GroupFigures): Html => html`<tr>
  <td><b>${group.group}</b><div class="tag">${group.role === 'control' ? 'control: nothing was done to it' : 'treatment'} · ${group.machines} machine${group.machines === 1 ? '' : 's'}</div></td>
  ${columns.map(({ of, short }) => cell(of(group), short, of(group) === group.stopped && group.role === 'treatment' ? 'never' : '–'))}
  <td class="num" data-label="failed operations"><span><b>${group.failedOperations.toLocaleString('en')}</b></span></td></tr>`;

/** @param none shown if nothing was measured */
function cell({ count, max, p95, p50 }: Quantiles, short: string, none: string): Html {
  if (max === null) return html`<td class="num" data-label="${short}">${none}</td>`;
  const below = count > 1 && p95 !== null && p50 !== null;
  return html`<td class="num" data-label="${short}"><span><b>${duration(max)}</b>${
    below ? html`<small>p95 ${duration(p95)}</small><small>p50 ${duration(p50)}</small>` : ''
  }</span></td>`;
}

/** `1.2 MB` */
export const bytes = (count: number): string => {
  if (count >= 1_000_000_000) return `${(count / 1_000_000_000).toFixed(2)} GB`;
  if (count >= 1_000_000) return `${(count / 1_000_000).toFixed(1)} MB`;
  return `${count.toLocaleString('en')} bytes`;
};
