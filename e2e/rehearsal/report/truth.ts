import { type Html, html } from '@interlock/lab/report/html';
import { causes, type TableCause, type TableCauseName } from '../../truth-table/causes.ts';
import { type Cell, cellsOf, type DiskClass, diskClasses, machineStates } from '../../truth-table/table.ts';
import type { Gathered } from '../evidence/evidence.ts';

/** The observed running machines, by cause and class: whether the table was right. */
type Seen = ReadonlyMap<string, boolean>;

const classes: Readonly<Record<string, DiskClass>> = {
  PREMIUM_SSD: 'Premium SSD',
  PREMIUM_SSD_V2: 'Premium SSD v2',
  STANDARD_SSD: 'Standard SSD',
  STANDARD_HDD: 'Standard HDD',
  ULTRA: 'Ultra',
};
/** The causes that machines of every class went through. */
const played: Readonly<Record<string, TableCauseName>> = {
  KEY_DISABLED: 'disable-key',
  KEY_DELETED: 'delete-key',
  ACCESS_DENIED: 'remove-policy',
};

/** The truth table: what happens to a running machine, for each cause and class, with a mark where this run observed it. */
export function truth(evidence: Gathered): Html {
  const seen = seenIn(evidence);
  return html`<div class="scroll"><table class="truth stack"><thead><tr><th>Cause</th>${diskClasses.map((name) => html`<th>${name}</th>`)}</tr></thead><tbody>
    ${causes.map(
      (cause) =>
        html`<tr><td>${cause.name}</td>${running(cause).map((cell) => shown(cell, seen.get(keyOf(cell))))}</tr>`,
    )}</tbody></table></div>
    <div class="legend"><span><b class="seen">●</b> seen in this run, as it says</span><span><b class="wrong">✗</b> seen otherwise</span>
    <span>no mark: executed by <code>npm test</code>, as are the machines that were ${machineStates.slice(1).join(', ')}: ${causes.length * diskClasses.length * machineStates.length} cells, in docs/truth-table.md</span></div>`;
}

const running = (cause: TableCause): readonly Cell[] => cellsOf(cause).filter(({ state }) => state === 'running');

const keyOf = ({ cause, diskClass }: Pick<Cell, 'cause' | 'diskClass'>): string => `${cause} × ${diskClass}`;

function shown({ expected, diskClass }: Cell, isAsExpected: boolean | undefined): Html {
  const isOff = expected.end === 'STOPPED';
  const mark =
    isAsExpected === undefined ? '' : isAsExpected ? html`<b class="seen">●</b>` : html`<b class="wrong">✗</b>`;
  const words = isOff ? (expected.data === 'lost' ? 'stops, data lost' : 'stops') : 'runs on';
  return html`<td class="${isOff ? 'stops' : 'runs'}" data-label="${diskClass}"><span>${words} ${mark}</span></td>`;
}

function seenIn({ disabled, deleted, withdrawn, timed = [] }: Gathered): Seen {
  const seen = new Map<string, boolean>();
  const note = (cause: TableCauseName, diskClass: DiskClass | undefined, isAsExpected: boolean): void => {
    if (diskClass === undefined) return;
    const key = keyOf({ cause, diskClass });
    seen.set(key, (seen.get(key) ?? true) && isAsExpected);
  };
  for (const loss of [disabled, deleted, withdrawn]) {
    for (const { classes: skus, onLoss, power } of loss?.machines ?? []) {
      const cause = played[loss?.cause ?? ''];
      if (cause === undefined || skus.length === 0 || onLoss === 'untouched') continue;
      const diskClass = skus.length > 1 ? 'mixed' : classes[skus[0] ?? ''];
      note(cause, diskClass, power === (onLoss === 'stops' ? 'STOPPED' : 'RUNNING'));
    }
  }
  for (const { cause, reason, machines } of timed) {
    for (const machine of machines)
      note(cause, classes[machine.sku], machine.reason === reason && machine.stoppedAfterMs >= 0);
  }
  return seen;
}
