import { duration, type Html, html, px } from '@interlock/lab/report/html';
import type { Report, Revocation } from './report.ts';

const causes: Readonly<Record<string, string>> = {
  KEY_DISABLED: 'The key was disabled',
  KEY_DELETED: 'The key was deleted',
  ACCESS_DENIED: 'Access to the key was withdrawn',
};

/** A cause, as a text. */
export const causeInWords = (cause: string): string => causes[cause] ?? cause;

const [width, nameWidth, rowHeight] = [420, 104, 24];

/** For each loss: when each machine's last read or write succeeded, and when it was stopped. All on one scale. */
export function stops({ revocations }: Report): Html {
  const longest = Math.max(1, ...revocations.map(({ toStoppedMs }) => toStoppedMs?.max ?? 0));
  return html`<div class="panels">${revocations.map((revocation) => panel(revocation, longest))}</div>`;
}

function panel({ cause, machines, toStoppedMs }: Revocation, longest: number): Html {
  const stopped = machines.filter((machine) => machine.stopped);
  const others = machines.length - stopped.length;
  const x = (ms: number): number => nameWidth + (Math.max(0, ms) / longest) * (width - nameWidth - 58);
  const height = stopped.length * rowHeight + 6;
  const figures =
    toStoppedMs === null
      ? 'no machine stopped'
      : `half of them within ${duration(toStoppedMs.p50)}, the last after ${duration(toStoppedMs.max)}`;
  return html`<div>
    <h3>${causeInWords(cause)}</h3>
    <div class="sub">${stopped.length} machines stopped, ${figures}; ${others} kept running</div>
    <svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Time from the loss to the stop of each machine">
      <line class="grid" x1="${nameWidth}" x2="${nameWidth}" y1="0" y2="${height}"/>
      ${stopped.map(({ name, stoppedAfterMs, lastGoodIoAfterMs }, index) => {
        const [y, end, last] = [index * rowHeight + 6, x(stoppedAfterMs ?? 0), x(lastGoodIoAfterMs ?? 0)];
        return html`<text x="${nameWidth - 8}" y="${y + 11}" text-anchor="end">${name}</text>
          <rect x="${nameWidth}" y="${y + 2}" width="${px(end - nameWidth)}" height="10" rx="3" style="fill: var(--stop); opacity: .22"/>
          <rect x="${nameWidth}" y="${y + 2}" width="${px(Math.max(0, last - nameWidth))}" height="10" rx="3" style="fill: var(--work)"/>
          <circle cx="${px(end)}" cy="${y + 7}" r="5" style="fill: var(--stop)"/>
          <text class="strong" x="${px(end + 10)}" y="${y + 11}">${duration(stoppedAfterMs ?? 0)}</text>`;
      })}
    </svg>
  </div>`;
}
