import type { StepRecord } from '../../record.ts';
import { shortName } from '../../short-name.ts';
import { actionInWords, isKeyAction, takesAccess } from '../../timeline/actions.ts';
import { effectOf } from '../experiment/losses.ts';
import { recordPicture } from '../experiment/record-picture.ts';
import { duration, type Html, html } from '../html.ts';
import { document } from '../page.ts';
import { laneLegend } from '../picture/legend.ts';
import { picture } from '../picture/picture.ts';
import { type Activity, type LossSummary, lossSummariesOf } from './activity.ts';

/** Before the first event, this part of the time is shown. */
const leadPart = 0.03;

/** The page of `interlock report`: what happened to the machines of a group, for readers who are not engineers. */
export function activityPage(activity: Activity): string {
  const summaries = lossSummariesOf(activity);
  return document(
    `${activity.group}: what happened to its machines`,
    html`${header(activity, summaries)}
<section>
  <h2>What happened to the machines</h2>
  ${timeline(activity)}
</section>
<section>
  <h2>What was done to their keys</h2>
  ${changesTable(activity)}
</section>
<section>
  <h2>What became of each machine</h2>
  ${machinesTable(summaries)}
</section>
<section>
  <h2>Refused uses of the keys</h2>
  ${refusalsTable(activity)}
</section>
${hosts(activity)}
${unread(activity)}`,
  );
}

/** One host has every disk, which needs no words while it serves. */
function hosts({ hosts: all }: Activity): Html {
  if (all.length < 2 && all.every(({ state }) => state === 'HOST_SERVING')) return html``;
  return html`<section>
  <h2>Where their disks are</h2>
  <div class="scroll"><table class="figures-table stack"><thead><tr><th>Disk host</th><th>State</th><th>Disks of the group</th></tr></thead><tbody>
  ${all.map(
    ({ name, state, diskCount }) =>
      html`<tr><td data-label="Disk host">${shortName(name)}</td><td data-label="State">${state.replace('HOST_', '').toLowerCase() || 'not known'}</td><td data-label="Disks of the group">${diskCount}</td></tr>`,
  )}
  </tbody></table></div>
</section>`;
}

function header(activity: Activity, summaries: readonly LossSummary[]): Html {
  const { group, fromMs, toMs } = activity;
  return html`<header>
  <span class="brand">Interlock</span>
  <p class="subject">Resource group ${group}</p>
  <h1>${headline(group, summaries)}</h1>
  <p>From ${clock(fromMs)} to ${clock(toMs)} UTC on ${new Date(toMs).toISOString().slice(0, 10)}, ${duration(toMs - fromMs)}.</p>
  <div class="figures">
    ${figuresOf(activity, summaries).map(({ value, words }) => html`<div class="figure"><b>${value}</b><span>${words}</span></div>`)}
  </div>
</header>`;
}

/** A large figure, and what it counts. */
export interface Figure {
  readonly value: string;
  readonly words: string;
}

/** The figures of a period. Of durations the longest; those that are not known are left out. */
export function figuresOf({ machines }: Activity, summaries: readonly LossSummary[]): readonly Figure[] {
  const mismatches = machines.reduce((sum, { counted }) => sum + (counted?.mismatches ?? 0), 0);
  const most = (of: (summary: LossSummary) => number | undefined): number | undefined =>
    summaries.map(of).reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined);
  const time = (of: (summary: LossSummary) => number | undefined, words: string): readonly Figure[] => {
    const ms = most(of);
    return ms === undefined ? [] : [{ value: duration(ms), words }];
  };
  return [
    { value: String(machines.length), words: 'machines' },
    {
      value: String(summaries.filter(({ stopCount }) => stopCount > 0).length),
      words: 'were stopped by the platform because of a key',
    },
    ...time(({ lastGoodAfterMs }) => lastGoodAfterMs, 'from the access loss to the last good read or write, at most'),
    ...time(({ offAfterMs }) => offAfterMs, 'from the access loss until a machine was off, at most'),
    ...time(
      ({ decidedAfterMs }) => decidedAfterMs,
      'from the access loss until a stop was decided, at most; when those machines were off is not recorded',
    ),
    ...time(({ backAfterMs }) => backAfterMs, 'from the return of access until a machine ran again, at most'),
    { value: String(mismatches), words: 'reads that returned other bytes than were written' },
  ];
}

/** One sentence, with the slowest machine. */
export function headline(group: string, summaries: readonly LossSummary[]): string {
  const stopped = summaries.filter(({ stopCount }) => stopCount > 0);
  if (summaries.length === 0) return `${group} has no machines.`;
  if (stopped.length === 0) return `The platform stopped no machine of ${group} because of a key.`;
  const running = stopped.filter(({ isRunning }) => isRunning).length;
  const off = stopped.length - running;
  const now = off === 0 ? 'all of them run again' : `${off} of them ${off === 1 ? 'does' : 'do'} not run now`;
  return `The platform stopped ${stopped.length} of ${summaries.length} machines${slowest(stopped)}; ${now}.`;
}

/** The slowest stop. Without the end of every stop no figure says when the last machine was off. */
function slowest(stopped: readonly LossSummary[]): string {
  const most = (all: readonly number[]): string => duration(all.reduce((a, b) => Math.max(a, b)));
  const off = stopped.flatMap(({ offAfterMs }) => offAfterMs ?? []);
  const decided = stopped.flatMap(({ decidedAfterMs }) => decidedAfterMs ?? []);
  if (decided.length > 0)
    return `, decided ${most(decided)} after access was lost at the latest (when they were off is not recorded)`;
  if (off.length === 0) return '';
  const unmeasured = stopped.reduce((sum, { unmeasuredCount }) => sum + unmeasuredCount, 0);
  const others =
    unmeasured === 0 ? '' : ` (${unmeasured === 1 ? '1 stop has' : `${unmeasured} stops have`} no known access loss)`;
  return `, the last was off ${most(off)} after access was lost${others}`;
}

/** What a timeline without reads and writes says. */
const withoutIo = 'Reads and writes of the guests could not be read here, so the rows show power states alone.';

/** The machines over time, with the legend. @param aboutIo what it says about reads and writes */
export function timeline(activity: Activity, aboutIo = activity.io.length === 0 ? withoutIo : ''): Html {
  const { machines, changes, io, fromMs, toMs } = activity;
  if (machines.length === 0) return html`<p>The group has no machines.</p>`;
  const steps = changes.map(({ step }) => step).filter(isShown);
  const t0 = steps.find(({ action, undoes }) => undoes === undefined && takesAccess(action));
  const zeroMs = t0 === undefined ? undefined : effectOf(t0);
  const order = [...new Set(machines.map(({ group }) => group))];
  const content = recordPicture({ machines, io, steps }, order, { fromMs: shownFrom(activity, steps), toMs, zeroMs });
  return html`<p>Each row is a machine. Times count from ${t0 === undefined ? clock(fromMs) : `t0, ${clock(effectOf(t0))}, the start of the request that took access away`}.
  ${aboutIo}</p>
  <div class="scroll wide">${picture(content)}</div>${laneLegend(content)}`;
}

/** Whether a change may have had an effect on machines. Others, such as the first grants, are only listed. */
const isShown = ({ action, undoes, error }: StepRecord): boolean =>
  error === undefined && (undoes !== undefined || isKeyAction(action));

/** The picture starts slightly before the first event. */
function shownFrom({ machines, io, fromMs, toMs }: Activity, steps: readonly StepRecord[]): number {
  const power = machines.flatMap((machine) => machine.power.map(({ atMs }) => atMs));
  // A machine that ran before shows that from the start.
  if (power.some((atMs) => atMs < fromMs)) return fromMs;
  const firstIo = io[0];
  const first = [...power, ...steps.map(effectOf), ...(firstIo === undefined ? [] : [firstIo.invokedMs])].reduce(
    (a, b) => Math.min(a, b),
    toMs,
  );
  return Math.max(fromMs, first - (toMs - first) * leadPart);
}

function changesTable({ changes }: Activity): Html {
  if (changes.length === 0) return html`<p>Nothing, as far as their vaults recorded.</p>`;
  return html`<div class="scroll"><table class="figures-table stack"><thead><tr><th>What</th><th>Time</th><th>Of</th><th>By</th><th>Trace</th></tr></thead><tbody>
  ${changes.map(
    ({
      step,
      recorded,
      by,
    }) => html`<tr><td><b>${step.undoes === undefined ? actionInWords(step.action) : 'access given back'}</b><div class="tag">${recorded}</div>${step.error === undefined ? '' : html`<div class="error">refused: ${step.error}</div>`}</td>
    <td data-label="time">${clock(effectOf(step))}</td><td data-label="of">${step.targets.join(', ')}</td><td data-label="by">${by}</td><td class="mono" data-label="trace">${step.traceId ?? ''}</td></tr>`,
  )}</tbody></table></div>
  <p class="note">Times in UTC. <code>interlock trace</code> with a trace shows each step in every service. Role assignments and principals belong
  to identity, which keeps no such record; a machine that they stopped has the reason ACCESS_DENIED.</p>`;
}

function machinesTable(summaries: readonly LossSummary[]): Html {
  const time = (ms: number | undefined, label: string) =>
    html`<td class="num" data-label="${label}">${ms === undefined ? '–' : duration(ms)}</td>`;
  const off = (offMs: number | undefined, decidedMs: number | undefined) =>
    decidedMs === undefined
      ? time(offMs, 'off')
      : html`<td class="num" data-label="off">${offMs === undefined ? '' : html`${duration(offMs)}<br>`}<small>decided after ${duration(decidedMs)}</small></td>`;
  const count = (value: number | undefined, label: string) =>
    html`<td class="num" data-label="${label}">${value === undefined ? '–' : value.toLocaleString('en')}</td>`;
  return html`<div class="scroll"><table class="figures-table stack"><thead><tr><th>Machine</th><th>Now</th><th>Stopped because of</th><th class="num">Last good I/O</th>
  <th class="num">Off</th><th class="num">Back</th><th class="num">Reads</th><th class="num">Writes</th><th class="num">Failed</th><th class="num">Mismatches</th></tr></thead><tbody>
  ${summaries.map(({ machine, reasons, stopCount, lastGoodAfterMs, offAfterMs, decidedAfterMs, backAfterMs }) => {
    const { name, group, powerState, counted } = machine;
    return html`<tr><td><b>${shortName(name)}</b><div class="tag">${group}</div></td><td data-label="now">${powerState}</td><td data-label="because of">${reasons.join(', ') || '–'}${stopCount > 1 ? html`<div class="tag">${stopCount} stops</div>` : ''}</td>
    ${time(lastGoodAfterMs, 'last good I/O')}${off(offAfterMs, decidedAfterMs)}${time(backAfterMs, 'back')}
    ${count(counted?.reads, 'reads')}${count(counted?.writes, 'writes')}${count(counted?.failures, 'failed')}${count(counted?.mismatches, 'mismatches')}</tr>`;
  })}</tbody></table></div>
  <p class="note">Last good I/O and off count from the access loss that stopped the machine, back from the moment at which access was given back. An access loss counts from the start of the request that caused it. Of several stops each is the longest.
  “Decided after”: the log of the cloud has the decision to stop the machine and not the time at which it was off.
  Reads, writes, failed and mismatches count since the machine was made.</p>`;
}

function refusalsTable({ refusals }: Activity): Html {
  if (refusals.length === 0) return html`<p>None.</p>`;
  return html`<div class="scroll"><table class="figures-table stack"><thead><tr><th>Reason</th><th>Operation</th><th>Key</th><th>Caller</th><th class="num">Times</th><th class="num">First</th><th class="num">Last</th></tr></thead><tbody>
  ${refusals.map(
    ({
      reason,
      operation,
      key,
      by,
      count,
      firstMs,
      lastMs,
    }) => html`<tr><td><b>${reason}</b></td><td data-label="operation">${operation}</td><td data-label="key">${key}</td><td data-label="caller">${by}</td>
    <td class="num" data-label="times">${count.toLocaleString('en')}</td><td class="num" data-label="first">${clock(firstMs)}</td><td class="num" data-label="last">${clock(lastMs)}</td></tr>`,
  )}</tbody></table></div>`;
}

const unread = ({ unread: missing }: Activity): Html =>
  missing.length === 0
    ? html``
    : html`<section class="nothing"><h2>What could not be read</h2><ul>${missing.map((one) => html`<li>${one}</li>`)}</ul></section>`;

/** `17:00:23` */
const clock = (ms: number): string => new Date(ms).toISOString().slice(11, 19);
