import type { Experiment } from '../experiment.ts';
import { evaluateBy } from '../expressions/evaluate.ts';
import { spanText } from '../expressions/operators.ts';
import { Evidence } from '../measures/evidence.ts';
import { figuresOf } from '../measures/figures.ts';
import type { RunRecord } from '../record.ts';
import type { GroupFigures, Outcome, RuleVerdict, Verdict } from '../verdict.ts';
import { chanceRules } from './chances.ts';
import { problemsOfRun } from './problems.ts';
import { controlRules, expectationRules, guaranteeRules, proofRules, steadyRules } from './rules.ts';

/**
 * The verdict about a run, from its file and its record only: the same record gives the same verdict.
 *
 * A violated guarantee always makes a run `violated`. Otherwise the first that applies: `inconclusive` if the run cannot be trusted,
 * `aborted`, `violated`, `vacuous` if a rule was not tested, `held`.
 */
export function verdictOfRun(experiment: Experiment, record: RunRecord): Verdict {
  const evidence = new Evidence(experiment, record);
  const problems = problemsOfRun(evidence);
  const rules = [
    ...steadyRules(evidence),
    ...proofRules(evidence),
    ...chanceRules(evidence),
    ...expectationRules(evidence),
    ...controlRules(evidence),
    ...guaranteeRules(evidence),
  ];
  const groups = record.run.startedMs === undefined ? [] : figuresOf(evidence);
  const { bytesCompared, bytesLost } = record.content;
  const abortedBy = record.run.abortedBy ?? missedAbort(evidence);
  return { ...outcomeOf({ rules, problems, abortedBy, groups }), problems, rules, groups, bytesCompared, bytesLost };
}

/** An abort condition that the record meets and the engine did not notice. */
const missedAbort = (evidence: Evidence): string | undefined =>
  evidence.record.run.startedMs === undefined
    ? undefined
    : evidence.experiment.abort.find(({ expression }) => evaluateBy(expression, evidence).result === 'held')?.text;

interface Findings {
  readonly rules: readonly RuleVerdict[];
  readonly problems: readonly string[];
  readonly abortedBy: string | undefined;
  readonly groups: readonly GroupFigures[];
}

function outcomeOf({ rules, problems, abortedBy, groups }: Findings): {
  readonly outcome: Outcome;
  readonly because: string;
} {
  const violated = rules.filter(({ result }) => result === 'violated');
  const guarantee = violated.find(({ kind }) => kind === 'guarantee');
  const [firstViolated] = violated;
  const vacuous = rules.filter(({ result }) => result === 'vacuous');
  const [firstVacuous] = vacuous;
  if (guarantee !== undefined)
    return { outcome: 'violated', because: because(guarantee, 'does not hold', violated.length) };
  const [problem] = problems;
  if (problem !== undefined)
    return {
      outcome: 'inconclusive',
      because: `The run proves nothing: ${problem}${more(problems.length, 'problem')}.`,
    };
  if (abortedBy !== undefined) return { outcome: 'aborted', because: `The abort condition ${abortedBy} was met.` };
  if (firstViolated !== undefined)
    return { outcome: 'violated', because: because(firstViolated, 'does not hold', violated.length) };
  if (firstVacuous !== undefined)
    return { outcome: 'vacuous', because: because(firstVacuous, 'was never put to the test', vacuous.length) };
  const tested = rules.filter(({ kind }) => kind === 'expectation' || kind === 'guarantee').length;
  if (tested === 0) return { outcome: 'vacuous', because: 'Nothing was put to the test: the file expects nothing.' };
  return { outcome: 'held', because: `All ${rules.length} rules held${maximum(groups)}.` };
}

const because = ({ text, seen }: RuleVerdict, failed: string, count: number): string =>
  `${text} ${failed}: ${seen}${more(count, 'rule')}.`;

const more = (count: number, what: string): string =>
  count < 2 ? '' : ` (and ${count - 1} more ${what}${count === 2 ? '' : 's'})`;

/** The slowest stop: a median would hide it. */
const maximum = (groups: readonly GroupFigures[]): string => {
  const stops = groups.flatMap(({ stopped: { max } }) => (max === null ? [] : [max]));
  return stops.length === 0 ? '' : `; the last machine stopped ${spanText(Math.max(...stops))} after the loss`;
};
