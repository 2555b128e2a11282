import type { LossSummary } from '@interlock/lab/report/activity/activity';
import { timeline } from '@interlock/lab/report/activity/activity-page';
import { effectOf } from '@interlock/lab/report/experiment/losses';
import { duration } from '@interlock/lab/report/html';
import { shortName } from '@interlock/lab/short-name';
import { takesAccess } from '@interlock/lab/timeline/actions';
import { useState } from 'preact/hooks';
import type { AuditRow } from '../src/page/rows.ts';
import type { Cloud } from './cloud.ts';
import type { OpenWhy } from './now.tsx';
import { Chip, Drawn, Some, When } from './parts.tsx';

/** Machines over time, and what became of those that the platform stopped. */
export function Timeline({ cloud, openWhy }: { readonly cloud: Cloud; readonly openWhy: OpenWhy }) {
  const { activity, summaries } = cloud;
  const [isWhole, setWhole] = useState(false);
  const lossMs = newestLossMs(cloud);
  const fromMs =
    isWhole || lossMs === undefined ? activity.fromMs : Math.max(activity.fromMs, leadMs(lossMs, cloud.nowMs));
  // The last good operation alone is no picture of the I/O.
  const part = timeline({ ...activity, fromMs, io: [] }, 'The rows show power states.');
  const stopped = summaries.filter(({ stopCount }) => stopCount > 0);
  return (
    <section id="timeline" aria-labelledby="timeline-title">
      <h2 id="timeline-title">Timeline</h2>
      {lossMs !== undefined && (
        <fieldset class="choice">
          <legend class="hidden">Which time</legend>
          <button type="button" aria-pressed={!isWhole} onClick={() => setWhole(false)}>
            around the loss
          </button>
          <button type="button" aria-pressed={isWhole} onClick={() => setWhole(true)}>
            whole time
          </button>
        </fieldset>
      )}
      <Drawn part={part} />
      {stopped.length > 0 && (
        <>
          <h3>Stopped by the platform</h3>
          <Some rows={stopped} what="machines">
            {(shown) => <Stopped summaries={shown} openWhy={openWhy} />}
          </Some>
        </>
      )}
    </section>
  );
}

/** When access was lost last; undefined if it was not. */
const newestLossMs = ({ activity }: Cloud): number | undefined => {
  const loss = activity.changes.findLast(
    ({ step }) => step.undoes === undefined && step.error === undefined && takesAccess(step.action),
  );
  return loss === undefined ? undefined : effectOf(loss.step);
};

/** Where the picture starts so that a loss is in its first third, with at least two seconds before it. */
const leadMs = (lossMs: number, nowMs: number): number => lossMs - Math.max(2_000, (nowMs - lossMs) / 2);

function Stopped({ summaries, openWhy }: { readonly summaries: readonly LossSummary[]; readonly openWhy: OpenWhy }) {
  const time = (ms: number | undefined, label: string) => (
    <td class="num" data-label={label}>
      {ms === undefined ? '–' : duration(ms)}
    </td>
  );
  return (
    <table class="figures-table stack">
      <thead>
        <tr>
          <th>Machine</th>
          <th>Now</th>
          <th>Because of</th>
          <th class="num">Last good I/O</th>
          <th class="num">Stopped after</th>
          <th class="num">Back after</th>
        </tr>
      </thead>
      <tbody>
        {summaries.map(({ machine, reasons, lastGoodAfterMs, offAfterMs, decidedAfterMs, backAfterMs }) => (
          <tr key={machine.name}>
            <td>
              <button type="button" class="name" onClick={() => openWhy(machine.name)}>
                {shortName(machine.name)}
              </button>
            </td>
            <td data-label="now">{machine.powerState}</td>
            <td data-label="because of">{reasons.join(', ')}</td>
            {time(lastGoodAfterMs, 'last good I/O')}
            {time(offAfterMs ?? decidedAfterMs, 'stopped after')}
            {time(backAfterMs, 'back after')}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const filters = ['all', 'granted', 'refused'] as const;

/** The audit logs of the vaults, newest first. */
export function Audit({ cloud: { audit, nowMs } }: { readonly cloud: Cloud }) {
  const [filter, setFilter] = useState<(typeof filters)[number]>('all');
  const rows = audit.filter(({ isGranted }) => filter === 'all' || isGranted === (filter === 'granted'));
  return (
    <section id="audit" aria-labelledby="audit-title">
      <h2 id="audit-title">Audit</h2>
      <fieldset class="choice">
        <legend class="hidden">Which entries</legend>
        {filters.map((one) => (
          <button key={one} type="button" aria-pressed={one === filter} onClick={() => setFilter(one)}>
            {one}
          </button>
        ))}
      </fieldset>
      {rows.length === 0 ? (
        <p>None{filter === 'all' ? '' : ` ${filter}`}.</p>
      ) : (
        <Some rows={rows} what="entries">
          {(shown) => <Entries rows={shown} nowMs={nowMs} />}
        </Some>
      )}
    </section>
  );
}

const Entries = ({ rows, nowMs }: { readonly rows: readonly AuditRow[]; readonly nowMs: number }) => (
  <table class="figures-table stack">
    <thead>
      <tr>
        <th>Operation</th>
        <th>Result</th>
        <th>Key</th>
        <th>By</th>
        <th>Time (UTC)</th>
      </tr>
    </thead>
    <tbody>
      {rows.map(({ name, operation, change, isGranted, reason, key, by, count, time }) => (
        <tr key={name}>
          <td>
            <b>{operation}</b>
            {change !== '' && <div class="tag">{change}</div>}
          </td>
          <td data-label="result">
            <Chip kind={isGranted ? 'pass' : 'fail'}>{isGranted ? 'granted' : `refused: ${reason}`}</Chip>
            {count > 1 && ` ${count} times`}
          </td>
          <td data-label="key">{key}</td>
          <td data-label="by">{by}</td>
          <td data-label="time">
            <When iso={time} nowMs={nowMs} />
          </td>
        </tr>
      ))}
    </tbody>
  </table>
);
