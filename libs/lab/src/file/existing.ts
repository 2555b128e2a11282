import type { ExistingMachines, Step } from '../experiment.ts';
import { takesAccess } from '../timeline/actions.ts';
import { concerns, keysOf, type Plan } from '../timeline/concerns.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { PlacedStep } from './steps.ts';

/** Most machines in the text of a problem. */
const namesMax = 3;

/** Checks the timeline against existing machines: keys that no disk is under, and guests without I/O. */
export function checkExisting(
  steps: readonly PlacedStep[],
  { groups, idle }: ExistingMachines,
  problems: Problems,
): void {
  const plan: Plan = { estate: { kind: 'planned', groups }, timeline: steps };
  const keys = keysOf({ ...plan, timeline: [] });
  for (const step of steps) {
    const { to } = step.options;
    if (step.action === 'assign-key' && !keys.includes(String(to)))
      problems.add(
        [...step.path, 'to'],
        `no disk of the group is under a key named "${to}"`,
        cureOfName(String(to), keys),
      );
    if (!takesAccess(step.action)) continue;
    const silent = idleOf(step, plan, idle);
    if (silent.length === 0) continue;
    const more = silent.length > namesMax ? ` and ${silent.length - namesMax} more` : '';
    problems.add(
      [...step.path, step.action],
      `"${step.name}" concerns ${silent.slice(0, namesMax).join(', ')}${more}, whose guests are idle: without I/O the run shows nothing`,
      'Make them again: estate import without --idle, or vm create with --workload-kind write-and-verify.',
    );
  }
}

const idleOf = (step: Step, plan: Plan, idle: ReadonlySet<string>): readonly string[] =>
  [...idle].filter((name) => concerns(plan, step, name));
