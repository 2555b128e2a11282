import type { Estate, Step } from '../experiment.ts';
import { durationText } from '../expressions/duration.ts';
import { isFaultAction, isUndoable, takesAccess } from '../timeline/actions.ts';
import { endMsOf, keyOfTarget, type Plan } from '../timeline/concerns.ts';
import type { Problems } from './problems.ts';
import type { PlacedStep } from './steps.ts';

/**
 * Refuses two steps that do the same to the same target at the same time: the undo of the first would end both, so the second
 * would last shorter than the file states.
 */
export function checkOverlaps(steps: readonly PlacedStep[], plan: Plan, problems: Problems): void {
  const lasting = steps.filter(({ action }) => takesAccess(action) || (isFaultAction(action) && isUndoable(action)));
  for (const [index, step] of lasting.entries()) {
    const earlier = lasting
      .slice(0, index)
      .find(
        (one) => one.action === step.action && sharesTarget(one, step, plan.estate) && endMsOf(plan, one) > step.atMs,
      );
    if (earlier === undefined) continue;
    const end = endMsOf(plan, earlier);
    const until = Number.isFinite(end) ? `until ${durationText(end)}` : 'to the end';
    problems.add(
      [...step.path, step.action],
      `"${step.name}" at ${durationText(step.atMs)} does what "${earlier.name}" (line ${earlier.line}) already does ${until}: ${step.action} ${targetsText(step)}`,
      'Begin it when the other has ended, or make one longer step of both.',
    );
  }
}

const targetsText = ({ targets }: Step): string => targets.join(' and ');

/** Whether two steps share a target: for a cut both parts, for other actions any of them. */
function sharesTarget(one: Step, other: Step, estate: Estate): boolean {
  const namesOf = ({ action, targets }: Step): readonly string[] =>
    takesAccess(action) ? targets.map((target) => keyOfTarget(estate, target)) : targets;
  const names = namesOf(other);
  const isShared = (name: string): boolean => names.includes(name);
  return other.action === 'cut' ? namesOf(one).every(isShared) : namesOf(one).some(isShared);
}
