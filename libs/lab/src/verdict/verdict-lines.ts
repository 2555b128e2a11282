import type { GroupFigures, Quantiles, RuleVerdict, Verdict } from '../verdict.ts';

const marks: Readonly<Record<RuleVerdict['result'], string>> = { held: 'ok  ', violated: 'FAIL', vacuous: '?   ' };

/** A rule that held in a run that proves nothing is not marked as good. */
const unproven = '-   ';

const ms = (value: number | null): string => {
  if (value === null) return '-';
  return Math.abs(value) >= 1_000 ? `${(value / 1_000).toFixed(2)} s` : `${Math.round(value)} ms`;
};

/** A verdict for a terminal: the outcome first, then each rule with what was measured, then the figures of each group. */
export const verdictLines = ({
  outcome,
  because,
  problems,
  rules,
  groups,
  bytesCompared,
  bytesLost,
}: Verdict): readonly string[] => [
  `${outcome.toUpperCase()}: ${because}`,
  ...problems.map((problem) => `  problem: ${problem}`),
  '',
  ...rulesLines(rules, outcome === 'inconclusive' || outcome === 'aborted'),
  '',
  ...groups.flatMap(figureLines),
  `${bytesCompared} bytes compared, ${bytesLost} lost`,
];

/** Guarantees that held are counted: there is one for each machine. */
const rulesLines = (rules: readonly RuleVerdict[], isUnproven: boolean): readonly string[] => {
  const markOf = (result: RuleVerdict['result']): string =>
    isUnproven && result === 'held' ? unproven : marks[result];
  const shown = rules.filter(({ kind, result }) => kind !== 'guarantee' || result !== 'held');
  const held = rules.length - shown.length;
  return [
    ...shown.flatMap(({ kind, text, result, seen, firstBreak }) => [
      `${markOf(result)} ${kind}: ${text}${seen === '' ? '' : ` (${seen})`}`,
      ...(firstBreak === undefined ? [] : [`       first: ${firstBreak}`]),
    ]),
    ...(held === 0 ? [] : [`${markOf('held')} ${held} guarantees of the platform`]),
    ...(isUnproven ? [`${unproven} marks what was not broken in a run that does not prove it`] : []),
  ];
};

const figureLines = ({ group, role, machines, failedOperations, ...figures }: GroupFigures): readonly string[] => {
  const named: readonly (readonly [string, Quantiles])[] = [
    ['last good read', figures.lastGoodRead],
    ['last good write', figures.lastGoodWrite],
    ['stopped', figures.stopped],
    ['start refused', figures.startRefused],
    ['back', figures.back],
    ['longest gap', figures.gap],
  ];
  const measured = named.flatMap(([name, { max, p50, count }]) =>
    count === 0 || max === null ? [] : [`${name} ${ms(max)}${count > 1 ? ` (median ${ms(p50)})` : ''}`],
  );
  return [
    `${group} (${role}, ${counted(machines, 'machine')}): ${[...measured, `${counted(failedOperations, 'operation')} failed`].join(', ')}`,
  ];
};

const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
