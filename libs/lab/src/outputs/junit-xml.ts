import type { Experiment } from '../experiment.ts';
import type { RunRecord } from '../record.ts';
import type { GroupFigures, Quantiles, RuleVerdict, Verdict } from '../verdict.ts';

/**
 * `junit.xml`: a test case for each rule, and one for the run itself. Violated rules are failures. Vacuous rules and inconclusive runs
 * are errors: as skipped test cases, a build would count them as passed.
 */
export function junitXml(experiment: Experiment, record: RunRecord, verdict: Verdict): string {
  const { run } = record;
  const cases = [runCase(verdict, run.abortedBy), ...verdict.rules.map(ruleCase)];
  const seconds = ((run.endedMs ?? run.startedMs ?? 0) - (run.startedMs ?? 0)) / 1_000;
  const counts = {
    tests: cases.length,
    failures: cases.filter(({ kind }) => kind === 'failure').length,
    errors: cases.filter(({ kind }) => kind === 'error').length,
    time: seconds.toFixed(3),
  };
  const suite = {
    name: experiment.title,
    ...counts,
    ...(run.startedMs !== undefined && { timestamp: new Date(run.startedMs).toISOString().slice(0, 19) }),
  };
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: 'interlock experiment', ...counts })}>`,
    `  <testsuite${attributes(suite)}>`,
    '    <properties>',
    ...propertiesOf(record, verdict).map(([name, value]) => `      <property${attributes({ name, value })}/>`),
    '    </properties>',
    ...cases.map(({ xml }) => xml),
    '  </testsuite>',
    '</testsuites>',
  ];
  return `${lines.join('\n')}\n`;
}

interface Case {
  readonly kind: 'passed' | 'failure' | 'error';
  readonly xml: string;
}

const ruleCase = ({ kind, text, result, seen, firstBreak }: RuleVerdict): Case => {
  if (result === 'held') return testCase(kind, text, 'passed', [], seen);
  if (result === 'vacuous')
    return testCase(kind, text, 'error', [{ type: 'vacuous', message: `never put to the test: ${seen}` }]);
  const detail = firstBreak === undefined ? '' : `first broken by: ${firstBreak}`;
  return testCase(kind, text, 'failure', [{ type: 'violated', message: seen, detail }]);
};

const runCase = ({ problems, outcome, because }: Verdict, abortedBy: string | undefined): Case => {
  const faults = problems.map((message) => ({ type: 'inconclusive', message }));
  if (outcome === 'aborted')
    faults.push({ type: 'aborted', message: abortedBy === undefined ? because : `abort condition met: ${abortedBy}` });
  return testCase('run', 'the run can be trusted', faults.length > 0 ? 'error' : 'passed', faults, because);
};

interface Fault {
  readonly type: string;
  readonly message: string;
  readonly detail?: string;
}

function testCase(classname: string, name: string, kind: Case['kind'], faults: readonly Fault[], output = ''): Case {
  const inner = faults.map(
    ({ type, message, detail = '' }) => `      <${kind}${attributes({ type, message })}>${xmlText(detail)}</${kind}>`,
  );
  if (output !== '') inner.push(`      <system-out>${xmlText(output)}</system-out>`);
  const head = `    <testcase${attributes({ classname, name })}`;
  return { kind, xml: inner.length === 0 ? `${head}/>` : [`${head}>`, ...inner, '    </testcase>'].join('\n') };
}

function propertiesOf(
  { run, content }: RunRecord,
  { outcome, groups }: Verdict,
): readonly (readonly [string, string])[] {
  const versions = Object.entries(run.versions).map(([name, version]) => [`version.${name}`, version] as const);
  return [
    ['outcome', outcome],
    ['run', run.id],
    ['target', run.target],
    ['seed', String(run.seed)],
    ['bytesCompared', String(content.bytesCompared)],
    ['bytesLost', String(content.bytesLost)],
    ...groups.flatMap(groupProperties),
    ...versions,
  ];
}

/** `premium.stopped.max.ms` and the other quantiles that were measured. */
const groupProperties = (figures: GroupFigures): readonly (readonly [string, string])[] =>
  Object.entries(figures).flatMap(([name, value]): readonly (readonly [string, string])[] => {
    if (name === 'group') return [];
    if (typeof value !== 'object') return [[`${figures.group}.${name}`, String(value)]];
    return Object.entries(value satisfies Quantiles).flatMap(
      ([quantile, ms]): readonly (readonly [string, string])[] =>
        ms === null ? [] : [[`${figures.group}.${name}.${quantile}${quantile === 'count' ? '' : '.ms'}`, String(ms)]],
    );
  });

const attributes = (values: Readonly<Record<string, string | number>>): string =>
  Object.entries(values)
    .map(([name, value]) => ` ${name}="${xmlText(String(value))}"`)
    .join('');

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\n': '&#10;',
  '\r': '&#13;',
  '\t': '&#9;',
};

/** Text for XML 1.0: characters that it does not allow, not even escaped, become U+FFFD. */
const xmlText = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[^\t\n\r\u{20}-\u{D7FF}\u{E000}-\u{FFFD}\u{10000}-\u{10FFFF}]/gu, '\u{FFFD}')
    .replace(/[&<>"'\n\r\t]/g, (character) => entities[character] ?? '');
