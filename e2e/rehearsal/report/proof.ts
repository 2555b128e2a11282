import { type Html, html } from '@interlock/lab/report/html';
import { short } from '../rules/rule.ts';
import type { Report } from './report.ts';

/** Digits of a hash that are shown; `report.json` has them all. */
const shownDigits = 16;

/** For each disk that could be opened: the hash of all that was acknowledged, and of the content of its file; and the names of the others. */
export function proof({ dataReturned }: Report): Html {
  return html`<div class="scroll"><table class="figures-table stack"><thead>
    <tr><th>Disk</th><th class="num">Bytes</th><th>SHA-256 of what was acknowledged</th><th>of what is there</th><th></th></tr></thead><tbody>
    ${dataReturned.proof.map(({ disk, bytes, acknowledged, found }) => {
      const isSame = acknowledged === found;
      return html`<tr><td class="mono">${short(disk)}</td><td class="num" data-label="bytes">${bytes.toLocaleString('en')}</td>
        <td class="mono" data-label="acknowledged">${acknowledged.slice(0, shownDigits)}…</td><td class="mono" data-label="there">${found.slice(0, shownDigits)}…</td>
        <td><span class="tick ${isSame ? 'pass' : 'fail'}">${isSame ? 'same' : 'differs'}</span></td></tr>`;
    })}</tbody></table></div>
    ${others(dataReturned.throughApi)}`;
}

const others = (disks: readonly string[]): Html =>
  disks.length === 0
    ? html``
    : html`<p>And ${disks.length} others, whose files no key kept at home opens: a mark written at the beginning was read back from each
  through the API. <span class="mono">${disks.map(short).join(', ')}</span></p>`;
