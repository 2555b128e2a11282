import { nearest } from '@interlock/runtime/nearest';
import { cloudParts, isFaultTarget, isHostTarget, isVmHostTarget, type Step } from '../experiment.ts';
import type { Expression, Quantity, Term } from '../expression.ts';
import { isUndoable } from '../timeline/actions.ts';
import { concerns, groupsOf, isUndone, lossesOf, type Plan } from '../timeline/concerns.ts';
import { faultsWith } from '../timeline/faults.ts';
import { isHostMoment } from '../timeline/hosts.ts';
import { printQuantity } from './print.ts';
import {
  groupQuantities,
  hostQuantities,
  isGroupQuantity,
  isHostQuantity,
  isPartQuantity,
  partQuantities,
  type QuantityType,
  runQuantities,
  stepQuantities,
} from './vocabulary.ts';

/** A problem of an expression in one experiment. */
export interface ExpressionProblem {
  readonly message: string;
  readonly cure: string;
}

/**
 * Looks the names of an expression up in the experiment, and checks that its sides can be compared and are measured at all.
 * @returns every problem; empty if the expression can be evaluated
 */
export function checkExpression(expression: Expression, plan: Plan): readonly ExpressionProblem[] {
  const quantities =
    expression.kind !== 'compare'
      ? [expression.quantity]
      : [expression.left.quantity, expression.right.quantity].filter((one) => one !== undefined);
  const unknown = quantities.flatMap((quantity) => problemOfName(quantity, plan) ?? []);
  if (unknown.length > 0) return unknown;
  const wrongType = problemOfTypes(expression, plan);
  if (wrongType !== undefined) return [wrongType];
  const unmeasured = quantities.flatMap((quantity) => problemOfMeasuring(quantity, plan) ?? []);
  const counted = expression.kind === 'compare' ? countedFromLoss(expression) : undefined;
  return unmeasured.length > 0 || counted === undefined ? unmeasured : (problemOfCounting(counted, plan) ?? []);
}

/** Kind of the name before the dot. For existing machines any name may be a group. */
type Owner = 'run' | 'step' | 'part' | 'host' | 'group';

function ownerOf(of: string, plan: Plan): Owner | undefined {
  if (of === '') return 'run';
  if (plan.timeline.some(({ name }) => name === of)) return 'step';
  if (isHostTarget(of)) return 'host';
  if (isFaultTarget(of)) return 'part';
  if (plan.estate.kind !== 'planned' || groupsOf(plan.estate).some(({ name }) => name === of)) return 'group';
  return undefined;
}

const quantitiesOf: Readonly<Record<Owner, Readonly<Record<string, QuantityType>>>> = {
  run: runQuantities,
  step: stepQuantities,
  part: partQuantities,
  host: hostQuantities,
  group: groupQuantities,
};

/** Type of a quantity whose names are known. */
export const typeOf = ({ of, name }: Quantity, plan: Plan): QuantityType | undefined => {
  const owner = ownerOf(of, plan);
  return owner === undefined || !Object.hasOwn(quantitiesOf[owner], name) ? undefined : quantitiesOf[owner][name];
};

const suggest = (wrong: string, choices: readonly string[]): string => {
  const near = nearest(wrong, choices);
  return near === undefined ? `Write one of ${choices.join(', ')}.` : `Did you mean ${near}?`;
};

function problemOfName({ of, name }: Quantity, plan: Plan): ExpressionProblem | undefined {
  const owner = ownerOf(of, plan);
  if (owner === undefined) {
    const names = [
      ...groupsOf(plan.estate).map((group) => group.name),
      ...plan.timeline.map((step) => step.name),
      ...cloudParts,
      ...(name === 'effect' ? Object.keys(runQuantities) : []),
    ];
    return { message: `"${of}" is no group, step or part of the cloud`, cure: suggest(of, names) };
  }
  const known = Object.keys(quantitiesOf[owner]);
  if (known.includes(name)) return undefined;
  if (name === 'effect')
    return {
      message: `${of} is a ${owner}, and says nothing without a quantity`,
      cure: `Write ${of}.${known[0]}, or another of ${known.join(', ')}.`,
    };
  return { message: `the ${owner} ${of} has no quantity "${name}"`, cure: suggest(name, known) };
}

type TermType = QuantityType | 'plain-duration' | 'plain-number';

const termType = ({ quantity, hasUnit }: Term, plan: Plan): TermType | undefined => {
  if (quantity !== undefined) return typeOf(quantity, plan);
  return hasUnit ? 'plain-duration' : 'plain-number';
};

const comparable: Readonly<Record<TermType, readonly TermType[]>> = {
  moment: ['moment', 'plain-duration'],
  duration: ['duration', 'plain-duration'],
  number: ['number', 'plain-number'],
  state: [],
  reason: [],
  'plain-duration': ['moment', 'duration'],
  'plain-number': ['number'],
};

const typeWords: Readonly<Record<TermType, string>> = {
  moment: 'a moment',
  duration: 'a duration',
  number: 'a number',
  state: 'a state',
  reason: 'a reason',
  'plain-duration': 'a duration',
  'plain-number': 'a number without a unit',
};

function problemOfTypes(expression: Expression, plan: Plan): ExpressionProblem | undefined {
  if (expression.kind === 'reason') return undefined;
  if (expression.kind === 'holds') {
    if (typeOf(expression.quantity, plan) === 'state') return undefined;
    const text = printQuantity(expression.quantity);
    return { message: `${text} is no state that can hold`, cure: `Compare it: ${text} <= …` };
  }
  const { left, right } = expression;
  if (left.quantity === undefined && right.quantity === undefined)
    return { message: 'neither side measures anything', cure: 'Name a quantity, for example premium.stopped <= 5s.' };
  const [one, other] = [termType(left, plan), termType(right, plan)];
  if (one === undefined || other === undefined) return undefined;
  for (const [term, type] of [
    [left, one],
    [right, other],
  ] as const) {
    const problem = problemOfSum(term, type);
    if (problem !== undefined) return problem;
  }
  if (comparable[one].includes(other)) return undefined;
  const sides = [left, right].map(({ quantity }) =>
    quantity === undefined ? 'the other side' : printQuantity(quantity),
  );
  const message = `${sides[0]} is ${typeWords[one]} and ${sides[1]} is ${typeWords[other]}`;
  return { message, cure: cureOfTypes(one, other) };
}

function cureOfTypes(one: TermType, other: TermType): string {
  const both = [one, other];
  if (both.includes('state')) return 'Write the state alone, without a comparison.';
  if (both.includes('plain-number')) return 'Give the number a unit of time, for example 5s.';
  if (both.includes('moment')) return 'Compare a moment with another moment or with a duration such as 5s.';
  return 'Compare quantities of the same kind.';
}

/** A moment or a duration with a number added, or a number with a duration. */
function problemOfSum({ quantity, offset, hasUnit }: Term, type: TermType): ExpressionProblem | undefined {
  if (quantity === undefined || type === 'state') return undefined;
  const text = printQuantity(quantity);
  if (type === 'number' && hasUnit)
    return { message: `${text} is a number, and a duration is added to it`, cure: 'Leave the unit out.' };
  if (type !== 'number' && offset !== 0 && !hasUnit)
    return {
      message: `${offset} has no unit of time`,
      cure: `Write ${text} ${offset < 0 ? '-' : '+'} ${Math.abs(offset)}s.`,
    };
  return undefined;
}

/** The group's moment that is compared with a pure duration. */
function countedFromLoss({ left, right }: Extract<Expression, { kind: 'compare' }>): Quantity | undefined {
  const isPure = (term: Term): boolean => term.quantity === undefined && term.hasUnit;
  if (isPure(right)) return left.quantity;
  return isPure(left) ? right.quantity : undefined;
}

function problemOfCounting(quantity: Quantity, plan: Plan): readonly ExpressionProblem[] | undefined {
  const text = printQuantity(quantity);
  const owner = ownerOf(quantity.of, plan);
  if (typeOf(quantity, plan) !== 'moment') return undefined;
  if (owner !== 'group' || isHostQuantity(quantity.name))
    return [
      {
        message: `${text} is a moment, and a duration alone counts from the loss of a group`,
        cure: `Write ${text} <= <step> + 5s.`,
      },
    ];
  if (plan.estate.kind !== 'planned' || lossesOf(plan, quantity.of).length > 0) return undefined;
  return [
    {
      message: `${text} counts from a loss, and no step takes a key of ${quantity.of} away`,
      cure: `Compare it with a step, for example ${text} <= <step> + 5s, or name a group under a key that is taken.`,
    },
  ];
}

function problemOfMeasuring(quantity: Quantity, plan: Plan): readonly ExpressionProblem[] | undefined {
  const owner = ownerOf(quantity.of, plan);
  if (owner === 'host' && isHostMoment(quantity.name)) return problemOfHost(quantity, plan.timeline);
  if (owner === 'part' || owner === 'host') return problemOfPart(quantity, plan.timeline, plan);
  if (owner !== 'group' || plan.estate.kind !== 'planned' || !isGroupQuantity(quantity.name)) return undefined;
  const text = printQuantity(quantity);
  const { of: group } = quantity;
  const acts = (actions: readonly string[]): boolean =>
    plan.timeline.some((step) => actions.includes(step.action) && concerns(plan, step, group));
  if (['stopped', 'reason'].includes(quantity.name) && lossesOf(plan, group).length === 0)
    return [
      {
        message: `${text} is never measured: no step takes a key of ${group}, and a stop by a user does not count`,
        cure: 'Write <group>.isStopped or <group>.running, or name another group.',
      },
    ];
  if (isHostQuantity(quantity.name)) return problemOfHosts(quantity, plan);
  if (quantity.name === 'startRefused' && !acts(['start']))
    return [
      {
        message: `${text} is never measured: no step starts machines of ${group} while their key is lost`,
        cure: `Add {at: …, start: ${group}} after the loss.`,
      },
    ];
  const isGivenBack = lossesOf(plan, group).some((loss) => isUndone(plan, loss));
  if (quantity.name === 'back' && !isGivenBack)
    return [
      {
        message: `${text} is never measured: no step gives a key of ${group} back`,
        cure: 'Add {at: …, give-back: <step>, start: true}.',
      },
    ];
  return undefined;
}

/** Faults after which a VM host does not respond. */
const silences = ['kill', 'pause', 'cut'];

/** A host is drained, lost or open again only if something of the timeline is about it. */
function problemOfHost({ of, name }: Quantity, timeline: readonly Step[]): readonly ExpressionProblem[] | undefined {
  const causes =
    name === 'lost' && isVmHostTarget(of)
      ? ['lose-host', ...silences]
      : name === 'lost'
        ? ['lose-host']
        : ['drain-host'];
  const all = name === 'reopened' ? [...causes, 'lose-host', ...silences] : causes;
  if (timeline.some(({ action, targets }) => all.includes(action) && targets.includes(of))) return undefined;
  return [
    {
      message: `${of}.${name} is never measured: no step does that to ${of}`,
      cure: `Add ${causes[0]}: ${of} to the timeline.`,
    },
  ];
}

/** Machines and disks change their hosts, and machines are fenced, only because of what is done to hosts. */
function problemOfHosts(quantity: Quantity, { timeline, estate }: Plan): readonly ExpressionProblem[] | undefined {
  const { name } = quantity;
  const isOfDisks = name === 'disksMoved';
  const count = estate.kind === 'planned' ? (isOfDisks ? estate.diskHosts : estate.vmHosts) : undefined;
  const text = printQuantity(quantity);
  const kind = isOfDisks ? 'disk hosts' : 'VM hosts';
  if (estate.kind === 'planned' && count === undefined)
    return [
      {
        message: `${text} is never measured: the estate has no ${kind} of their own`,
        cure: `Add ${isOfDisks ? 'diskHosts' : 'vmHosts'}: 3 to the estate.`,
      },
    ];
  const causes = isOfDisks ? ['move-disk', 'drain-host'] : ['drain-host', 'lose-host', ...silences];
  const isCause = ({ action, targets }: Step): boolean =>
    causes.includes(action) &&
    (action === 'move-disk' || targets.some((target) => isHostTarget(target) && isVmHostTarget(target) !== isOfDisks));
  if (timeline.some(isCause)) return undefined;
  return [
    {
      message: `${text} is never measured: no step does anything to ${kind}`,
      cure: `Add ${causes[0]} to the timeline.`,
    },
  ];
}

function problemOfPart(
  { of, name }: Quantity,
  timeline: readonly Step[],
  plan: Plan,
): readonly ExpressionProblem[] | undefined {
  if (!isPartQuantity(name)) return undefined;
  const { actions, end } = faultsWith(name);
  const steps = timeline.filter((step) => actions.includes(step.action) && step.targets.includes(of));
  if (steps.length === 0)
    return [
      {
        message: `${of}.${name} is never measured: no step does that to ${of}`,
        cure: `Add ${actions.map((action) => `${action}: ${of}`).join(' or ')} to the timeline.`,
      },
    ];
  if (!end || steps.some((step) => !isUndoable(step.action) || isUndone(plan, step))) return undefined;
  return [
    {
      message: `${of}.${name} is never measured: the timeline never ends "${steps[0]?.name}"`,
      cure: `Add for: 20s to it, or a give-back of ${steps[0]?.name}.`,
    },
  ];
}
