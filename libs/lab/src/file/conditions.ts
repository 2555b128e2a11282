import type { Condition, Proof, SteadyCheck } from '../experiment.ts';
import { type Planned, whyUnfit } from '../expressions/can-fail.ts';
import { checkExpression } from '../expressions/check.ts';
import { toMilliseconds } from '../expressions/duration.ts';
import { parseExpression } from '../expressions/parse.ts';
import { isFaultAction, isUndoable, takesAccess } from '../timeline/actions.ts';
import { concerns, groupsOf, isUndone, keysOf, type Plan } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { RawCondition, Shaped } from './shape.ts';
import type { PlacedStep } from './steps.ts';

type LineOf = (path: Path) => number;

/** Default of `gap` of a steady check. */
const GAP_MS = 1_000;

/** The checks before the timeline. */
export const steadyOf = (
  { raw, place }: Shaped,
  plan: Plan,
  problems: Problems,
  lineOf: LineOf,
): readonly SteadyCheck[] =>
  (raw.steady ?? []).map((check, index) => {
    const path = place('steady', index);
    const line = lineOf(path);
    if ('services' in check) return { line, kind: 'services-ready' };
    if ('leases' in check) return { line, kind: 'leases-held' };
    const names = groupsOf(plan.estate).map(({ name }) => name);
    if (plan.estate.kind === 'planned' && !names.includes(check.io))
      problems.add([...path, 'io'], `"${check.io}" is no group of the estate`, cureOfName(check.io, names));
    return { line, kind: 'io', group: check.io, gapMs: toMilliseconds(check.gap ?? '') ?? GAP_MS };
  });

/** Actions that each kind of sighting can prove. */
const sights: Readonly<Record<Proof['see'], (action: string) => boolean>> = {
  'unwrap-refused': takesAccess,
  'io-refused': takesAccess,
  'machine-stopped': (action) => takesAccess(action) || action === 'stop',
  'start-refused': (action) => takesAccess(action) || action === 'start',
  'process-gone': (action) => action === 'kill' || action === 'restart',
  'calls-fail': isFaultAction,
};

/** The proofs of a file. */
export const proofsOf = ({ raw, place }: Shaped, plan: Plan, problems: Problems, lineOf: LineOf): readonly Proof[] =>
  (raw.proof ?? []).map(({ of, see, within }, index) => {
    const path = place('proof', index);
    const step = plan.timeline.find(({ name }) => name === of);
    if (step === undefined)
      problems.add(
        [...path, 'of'],
        `proof names "${of}", and no step has that name`,
        cureOfName(
          of,
          plan.timeline.flatMap(({ name, action }) => (action === 'give-back' ? [] : [name])),
        ),
      );
    else if (!sights[see](step.action)) {
      const fitting = Object.entries(sights).flatMap(([name, fits]) => (fits(step.action) ? [name] : []));
      problems.add(
        [...path, 'see'],
        `${see} cannot show that ${step.action} took effect`,
        fitting.length === 0 ? 'Remove the proof.' : `Write one of ${fitting.join(', ')}.`,
      );
    }
    return { line: lineOf(path), of, see, withinMs: toMilliseconds(within) ?? 0 };
  });

/** The conditions of a section. */
export const conditionsOf = (
  section: 'abort' | 'expect',
  { raw, place }: Shaped,
  plan: Planned,
  problems: Problems,
  lineOf: LineOf,
): readonly Condition[] =>
  (raw[section] ?? []).flatMap((written, index) => {
    const path = place(section, index);
    const text = conditionText(written);
    const parsed = parseExpression(text);
    if ('error' in parsed) {
      const { column, message, cure } = parsed.error;
      problems.add(path, `"${text}", column ${column}: ${message}`, cure);
      return [];
    }
    const wrong = checkExpression(parsed.expression, plan);
    const unfit = section === 'expect' && wrong.length === 0 ? whyUnfit(parsed.expression, plan) : undefined;
    for (const { message, cure } of unfit === undefined ? wrong : [unfit])
      problems.add(path, `"${text}": ${message}`, cure);
    return [{ line: lineOf(path), text, expression: parsed.expression }];
  });

/** Refuses a group that is expected to run all the time and to be off at the end. */
export function checkContradictions(expect: readonly Condition[], { place }: Shaped, problems: Problems): void {
  const states = expect.flatMap(({ expression }) => (expression.kind === 'holds' ? [expression.quantity] : []));
  for (const { of } of states.filter(({ name }) => name === 'running')) {
    if (!states.some((other) => other.of === of && other.name === 'isStopped')) continue;
    problems.add(place('expect'), `no run can satisfy both ${of}.running and ${of}.isStopped`, 'Remove one of them.');
  }
}

/** Checks that each step that takes a key away takes it from a disk of the estate. */
export function checkConcerned(steps: readonly PlacedStep[], plan: Plan, problems: Problems): void {
  if (plan.estate.kind !== 'planned') return;
  const known = keysOf(plan);
  // Between assign-key and its undo, the loss of an old key is a way to show that it is not needed.
  const own = keysOf({ estate: plan.estate, timeline: [] });
  for (const step of steps) {
    if (!takesAccess(step.action) || groupsOf(plan.estate).some(({ name }) => concerns(plan, step, name))) continue;
    if (step.targets.some((target) => !known.includes(target) || own.includes(target))) continue;
    problems.add(
      [...step.path, step.action],
      `"${step.name}" takes a key that no disk is under: nothing of the estate can change`,
      'Name a group, or the key of one.',
    );
  }
}

/** `{control: failed > 0}` is short for `control.failed > 0`. */
const conditionText = (written: RawCondition): string => {
  if (typeof written === 'string') return written.trim();
  const [[group, rest] = ['', '']] = Object.entries(written);
  return `${group}.${rest.trim()}`;
};

/** Checks that each step that takes a key away is given back, or has `leave: true`. */
export function checkGivenBack(steps: readonly PlacedStep[], plan: Plan, problems: Problems): void {
  for (const step of steps) {
    if (!takesAccess(step.action)) continue;
    const isGivenBack = isUndone(plan, step);
    if (step.options.leave === true && isGivenBack)
      problems.add([...step.path, 'leave'], `"${step.name}" has leave: true and is given back`, 'Remove one of them.');
    if (step.options.leave === true || isGivenBack) continue;
    const cure = isUndoable(step.action)
      ? `Add {at: 60s, give-back: ${step.name}, start: true}, or leave: true to the step.`
      : 'Add leave: true to the step: a purge is final.';
    problems.add(step.path, `"${step.name}" takes a key away and the timeline never gives it back`, cure);
  }
}
