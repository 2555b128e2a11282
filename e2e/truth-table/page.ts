import { lineOf } from '../docs/table.ts';
import { type Cause, type CauseName, causes } from './causes.ts';
import {
  type Cell,
  cellsOf,
  type DiskClass,
  diskClasses,
  type Expectation,
  type MachineState,
  machineStates,
} from './table.ts';

/** The page, as a path from the root. */
export const truthTablePage = 'docs/truth-table.md';

const introduction = `# What a lost key does

Written by \`node e2e/truth-table/write-page.ts\` from \`e2e/truth-table/table.ts\` and \`causes.ts\`. The tests beside them
bring about every cell on the five services with real Postgres, NATS, RSA and files, each as a test of its own:
\`CMK-101 truth: version disabled × Premium SSD × starting\`.

A cell says how the machine ends and, in brackets, which of the outcomes at the end of the page that is.

| State | The machine, in the moment the key is lost |
| --- | --- |
| running | runs |
| starting | its disks are open, its guest is coming up |
| stopping | its user powered it off, its guest is shutting down |
| stopped, deallocated | is off |
| being created | the disk service has opened its disks, and the answer is on its way |
| attaching | runs with an OS disk of the platform, and its guest is taking over the disk under the key; *mixed*: the Premium SSD, while the ultra disk is there already |

*mixed* is a Premium SSD and an ultra disk, both under the key. In every cell the set shows its key as lost, with the reason; but for\na vault that is unreachable or throttles, which has decided nothing.
`;

type NamedCause = Cause & { readonly name: CauseName };

/** The page, from the table alone. */
export const pageOf = (): string => {
  const patterns = patternsOf(causes);
  const outcomes = [...new Set(causes.flatMap((cause) => cellsOf(cause).map((cell) => outcomeOf(cell, cause))))];
  const numberOf = (outcome: string): number => outcomes.indexOf(outcome) + 1;
  return [
    introduction,
    causesSection(patterns),
    ...patterns.map((pattern) => patternSection(pattern, numberOf)),
    outcomesSection(outcomes),
  ].join('\n');
};

/** A table several causes share, but for the reason. */
interface Pattern {
  readonly letter: string;
  readonly causes: readonly [NamedCause, ...NamedCause[]];
}

/** The different tables there are once each reason is only called that. */
const patternsOf = (all: readonly NamedCause[]): readonly Pattern[] => {
  const found = new Map<string, [NamedCause, ...NamedCause[]]>();
  for (const cause of all) {
    const text = JSON.stringify(cellsOf(cause).map((cell) => outcomeOf(cell, cause)));
    const sharing = found.get(text);
    if (sharing) sharing.push(cause);
    else found.set(text, [cause]);
  }
  return [...found.values()].map((sharing, n) => ({ letter: String.fromCharCode(65 + n), causes: sharing }));
};

const causesSection = (patterns: readonly Pattern[]): string => {
  const rows = patterns.flatMap(({ letter, causes: sharing }) =>
    sharing.map((cause) => [cause.name, cause.how, reasonsOf(cause), cause.back, cause.rules.join(', '), letter]),
  );
  return ['## Causes', '', ...tableOf(['Cause', 'How', 'Reason', 'Way back', 'Rules', 'Table'], rows), ''].join('\n');
};

const reasonsOf = ({ reason, stopReason }: Cause): string =>
  stopReason === undefined ? reason : `${reason}; machines were stopped by ${stopReason}`;

const patternSection = (
  { letter, causes: [first, ...others] }: Pattern,
  numberOf: (outcome: string) => number,
): string => {
  const cells = cellsOf(first);
  const cellAt = (diskClass: DiskClass, state: MachineState): readonly string[] =>
    cells
      .filter((cell) => cell.diskClass === diskClass && cell.state === state)
      .map((cell) => `${ends[cell.expected.end]} (${numberOf(outcomeOf(cell, first))})`);
  const rows = machineStates.map((state) => [state, ...diskClasses.flatMap((diskClass) => cellAt(diskClass, state))]);
  const names = [first, ...others].map(({ name }) => name).join(', ');
  return [`## Table ${letter}`, '', `For: ${names}.`, '', ...tableOf(['', ...diskClasses], rows), ''].join('\n');
};

const outcomeColumns = ['Ends', 'Call under way', 'Stopped by', 'I/O', 'Disks', 'Start afterwards', 'Data', 'Rule'];

const outcomesSection = (outcomes: readonly string[]): string =>
  [
    '## Outcomes',
    '',
    'How a create or attach under way is answered; why the platform stopped the machine; what becomes of reads and writes; how the',
    'disks under the key show; how a start ends (of a machine that runs: once it is deallocated); what is left of the data once the',
    'key is back. *Reason* is that of the cause.',
    '',
    ...tableOf(
      ['', ...outcomeColumns],
      outcomes.map((outcome, n) => [String(n + 1), ...outcome.split(separator)]),
    ),
    '',
  ].join('\n');

const separator = ' | ';

/** What a cell expects, as the columns of an outcome. */
const outcomeOf = ({ expected, rule }: Cell, { reason, stopReason = reason }: Cause): string => {
  const why = (word: string): string => (word === stopReason || word === reason ? '*reason*' : word);
  const { end, answer, stopReason: stoppedBy, io, disks, start, data } = expected;
  return [
    ends[end],
    answer === 'none' ? '–' : why(answer),
    stoppedBy === 'none' ? '–' : why(stoppedBy),
    io === 'none' ? '–' : io,
    disks === 'NONE' ? 'none left' : disks.toLowerCase().replace('_', ' '),
    starts(start, why),
    data === 'none' ? '–' : data,
    rule,
  ].join(separator);
};

const starts = (start: Expectation['start'], why: (word: string) => string): string => {
  if (start === 'runs') return 'runs, without the disk';
  return start === 'NOT_FOUND' ? 'can be made again' : why(start);
};

const ends: Readonly<Record<Expectation['end'], string>> = {
  RUNNING: 'runs on',
  STOPPED: 'stopped',
  DEALLOCATED: 'deallocated',
  NONE: 'not made',
};

const tableOf = (heading: readonly string[], rows: readonly (readonly string[])[]): readonly string[] => [
  lineOf(heading),
  lineOf(heading.map(() => '---')),
  ...rows.map(lineOf),
];
