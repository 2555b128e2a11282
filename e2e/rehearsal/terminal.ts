import { renderTrace, type TraceNode } from '@interlock/lab/spans/trace-tree';
import type { Report } from './report.ts';
import type { Step, StepCall } from './timeline.ts';

/** A step: when it started, how it ended, who acted, what was called, how long it took, and its rules. */
export const stepLines = (step: Step, startedAtMs: number): readonly string[] => {
  const { who, title, rules, calls, durationMs, error } = step;
  const at = secondsBetween(startedAtMs, step.startMs);
  const took = `${durationMs.toFixed(0)} ms`.padStart(8);
  const sign = error === undefined ? '✓' : '✗';
  const called = callsInWords(calls);
  return [
    `${at} ${took}  ${sign} ${who}: ${title}  [${rules.join(' ')}]`,
    ...(called === '' ? [] : [`${' '.repeat(22)}→ ${called}`]),
    ...(error === undefined ? [] : [`${' '.repeat(22)}${error}`]),
  ];
};

/** `   12.34 s` */
export const secondsBetween = (fromMs: number, toMs: number): string =>
  `${((toMs - fromMs) / 1000).toFixed(2)} s`.padStart(8);

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

/** The trace of a loss as a tree. */
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

/** The experiments and the data, in a few lines: the page has all figures. */
export const summaryLines = ({ experiments, dataReturned }: Report): readonly string[] => [
  '',
  ...experiments.flatMap(({ title, outcome, because, rules }) => [
    `${outcome === 'held' ? '✓' : '✗'} Experiment: ${title}`,
    `             ${because}`,
    ...rules.flatMap(({ result, text, seen }) =>
      result === 'held' ? [] : [`           ✗ ${text}: ${result}, ${seen}`],
    ),
  ]),
  `Data returned  ${dataReturned.disks} disks (${dataReturned.proof.length} opened from their files, ${dataReturned.throughApi.length} read through the API), ${dataReturned.bytesCompared} bytes compared, ${dataReturned.mismatches} mismatches`,
];
