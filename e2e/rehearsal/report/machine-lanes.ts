import type { Io, Journals } from '@interlock/lab/judge/journal/journal';
import { className } from '@interlock/lab/report/class-names';
import { type Html, html } from '@interlock/lab/report/html';
import type { Lane, Stretch } from '@interlock/lab/report/picture/lane';
import { laneLegend } from '@interlock/lab/report/picture/legend';
import { sharedPauses } from '@interlock/lab/report/picture/pauses';
import { picture } from '@interlock/lab/report/picture/picture';
import type { Evidence, Gathered, LossSeen } from '../evidence/evidence.ts';
import type { Step } from '../timeline.ts';
import { lossesOf } from './report.ts';

/** A time without work longer than this is shown, in milliseconds. */
const idleMs = 220;

type Machine = Evidence['machines'][number];

/** The content of the picture. */
interface Content {
  readonly machines: readonly Machine[];
  readonly journals: Journals;
  readonly steps: readonly Step[];
  readonly evidence: Gathered;
}

/** The reads and writes of every machine over time, with the moments at which access was lost and restored. */
export const machineLanes = ({ machines, journals, steps, evidence }: Content): Html => {
  const all = machines.flatMap(({ name }) => journals[name] ?? []);
  if (all.length === 0) return html`<p>No machine did any reads or writes.</p>`;
  const [fromMs, toMs] = [
    Math.min(...all.map(({ invokedAt }) => invokedAt)) - 100,
    Math.max(...all.map(({ completedAt }) => completedAt)) + 100,
  ];
  const marks = steps.flatMap(({ event, startMs }) => (event === undefined ? [] : [{ ...event, atMs: startMs }]));
  const losses = lossesOf(evidence);
  const returns = marks.filter(({ kind }) => kind === 'return').map(({ atMs }) => atMs);
  const lanes = machines.map((machine): Lane => {
    const data = (journals[machine.name] ?? []).filter(({ op }) => op !== 'flush');
    return {
      name: machine.name,
      about: about(machine),
      operations: data.map(({ completedAt, ok }) => ({ atMs: completedAt, ok })),
      stretches: stretchesOf(machine, data, { losses, returns, toMs }),
    };
  });
  const content = { lanes, marks, faults: [], pauses: pausesOf(journals), fromMs, toMs };
  return html`<div class="scroll wide">${picture(content)}</div>${laneLegend(content)}`;
};

/**
 * Stretches without work: stopped for a lost key, and, once access is restored, waiting for a start; or
 * deallocated by the user. A machine that only had to wait for a core was not restarted, so it checks nothing afterwards.
 */
function stretchesOf(
  { name }: Machine,
  data: readonly Io[],
  run: { readonly losses: readonly LossSeen[]; readonly returns: readonly number[]; readonly toMs: number },
): readonly Stretch[] {
  const good = data.filter(({ ok }) => ok);
  return good.flatMap(({ completedAt, op }, index): Stretch[] => {
    const next = good[index + 1];
    const untilMs = next?.completedAt ?? run.toMs;
    if (untilMs - completedAt < idleMs) return [];
    const isStopped = run.losses.some((loss) =>
      loss.machines.some(
        (machine) =>
          machine.name === name &&
          machine.stoppedAt !== undefined &&
          machine.stoppedAt >= completedAt &&
          machine.stoppedAt <= untilMs,
      ),
    );
    if (!isStopped)
      return next?.op === 'verify' && op !== 'verify' ? [{ kind: 'away', fromMs: completedAt, untilMs }] : [];
    const back = run.returns.find((at) => at > completedAt && at < untilMs) ?? untilMs;
    const off: Stretch = { kind: 'off', fromMs: completedAt, untilMs: back };
    return back < untilMs ? [off, { kind: 'free', fromMs: back, untilMs }] : [off];
  });
}

function about({ disks, onLoss }: Machine): string {
  const under = disks.filter(({ set }) => set !== '');
  if (under.length === 0) return 'platform key only';
  const classes = [...new Set(under.map(({ sku }) => className(sku)))].join(' + ');
  return onLoss === 'untouched' ? `${classes}, another key` : `${classes} under the key`;
}

/** When no machine worked although several should, from and to in milliseconds since the epoch. */
export const pausesOf = (journals: Journals): readonly (readonly [number, number])[] =>
  sharedPauses(
    Object.entries(journals).flatMap(([machine, all]) =>
      all.flatMap(({ ok, completedAt }) => (ok ? [{ machine, completedMs: completedAt }] : [])),
    ),
  );
