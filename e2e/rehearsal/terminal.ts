import { renderTrace, type TraceNode } from '@interlock/lab/spans/trace-tree';
import type { Report } from './report/report.ts';
import type { Step, StepCall } from './timeline.ts';

/** The output for users while it runs, line by line. */

/** A step: when it started, how it ended, who acted, what was called, how long it took, and its rules. */
export const stepLines = (step: Step, startedAtMs: number): readonly string[] => {
  const { who, title, rules, calls, durationMs, error } = step;
  const at = `${((step.startMs - startedAtMs) / 1000).toFixed(2)} s`.padStart(8);
  const took = `${durationMs.toFixed(0)} ms`.padStart(8);
  const sign = error === undefined ? '✓' : '✗';
  const called = callsInWords(calls);
  return [
    `${at} ${took}  ${sign} ${who}: ${title}  [${rules.join(' ')}]`,
    ...(called === '' ? [] : [`${' '.repeat(22)}→ ${called}`]),
    ...(error === undefined ? [] : [`${' '.repeat(22)}${error}`]),
  ];
};

/** `key-vault CreateVault; disk CreateDisk ×4 (2 refused)`. */
export function callsInWords(calls: readonly StepCall[]): string {
  const counted = new Map<string, { total: number; refused: number }>();
  for (const { service, method, outcome } of calls) {
    const name = `${service} ${method}`;
    const { total, refused } = counted.get(name) ?? { total: 0, refused: 0 };
    counted.set(name, { total: total + 1, refused: refused + (outcome === 'ok' ? 0 : 1) });
  }
  return [...counted]
    .map(([name, { total, refused }]) => {
      const times = total === 1 ? '' : ` ×${total}`;
      if (refused === 0) return `${name}${times}`;
      return `${name}${times} (${refused === total ? 'refused' : `${refused} refused`})`;
    })
    .join('; ');
}

/** Rows of a trace worth a line on a terminal; the page has them all. */
const traceLinesMax = 60;

/** The trace of a revocation as a tree. */
export const traceLines = (title: string, roots: readonly TraceNode[]): readonly string[] => {
  const lines = renderTrace(roots).split('\n');
  const rest = lines.length - traceLinesMax;
  const shown = rest > 0 ? [...lines.slice(0, traceLinesMax), `… ${rest} more spans are in the page`] : lines;
  return ['', title, ...shown];
};

/** The verdict of each rule, with what was seen for failures. */
export const verdictLines = ({ rules, problems }: Report): readonly string[] => [
  '',
  ...rules.flatMap(({ id, title, verdict, evidence }) => [
    `${verdict === 'pass' ? '✓' : '✗'} ${id.padEnd(8)} ${title}`,
    `             ${shortened(evidence)}`,
  ]),
  ...problems.map((problem) => `✗ ${problem}`),
];

const evidenceMax = 320;
const shortened = (text: string): string => (text.length <= evidenceMax ? text : `${text.slice(0, evidenceMax)} …`);

/** Latencies and data, in a few lines. */
export const summaryLines = ({ revocations, stopwatch, stopwatchTotal, dataReturned }: Report): readonly string[] => [
  '',
  ...revocations.map(({ cause, machines, toStoppedMs }) => {
    const stopped = machines.filter((machine) => machine.stopped).length;
    const times =
      toStoppedMs === null
        ? 'none stopped'
        : `stopped after p50 ${toStoppedMs.p50} ms, p95 ${toStoppedMs.p95} ms, last ${toStoppedMs.max} ms`;
    return `${cause.padEnd(14)} ${stopped} of ${machines.length} machines: ${times}`;
  }),
  ...stopwatchLine(stopwatch, stopwatchTotal),
  `Data returned  ${dataReturned.disks} disks (${dataReturned.proof.length} opened from their files, ${dataReturned.throughApi.length} read through the API), ${dataReturned.bytesCompared} bytes compared, ${dataReturned.mismatches} mismatches`,
];

/** All timed causes in one line. The page has each of them. */
function stopwatchLine(stopwatch: Report['stopwatch'], total: Report['stopwatchTotal']): readonly string[] {
  const [slowest] = stopwatch.toSorted((one, other) => other.toStoppedMs.max - one.toStoppedMs.max);
  if (slowest === undefined || total === null) return [];
  const { cause, toStoppedMs } = slowest;
  const { machines, toStoppedMs: all } = total;
  return [
    `Stopwatch      ${stopwatch.length} ways to lose a key, ${machines} stops: p50 ${all.p50} ms, p95 ${all.p95} ms, slowest ${toStoppedMs.max} ms (${cause})`,
  ];
}
