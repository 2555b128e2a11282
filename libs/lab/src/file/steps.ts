import type { Estate, Step } from '../experiment.ts';
import { durationText, toMilliseconds } from '../expressions/duration.ts';
import { actionNames, isUndoable, kindOf, targetKindOf } from '../timeline/actions.ts';
import { groupsOf, keyOfTarget, keysOf, type Plan } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import { checkHosts, targetOf } from './hosts.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { RawStep, Shaped } from './shape.ts';

/** A step with its place in the text. */
export interface PlacedStep extends Step {
  readonly path: Path;
}

/** Longest timeline: a day. */
const END_MAX_MS = 24 * 3_600_000;

/** The timeline of a file, by time. Entries of `rollback` without a time follow when the rest has ended. */
export function stepsOf(
  shaped: Shaped,
  estate: Estate,
  problems: Problems,
  lineOf: (path: Path) => number,
): readonly PlacedStep[] {
  const { raw, place } = shaped;
  const placed = (section: 'timeline' | 'rollback') =>
    (raw[section] ?? []).map((step, index) => ({ step, path: place(section, index) }));
  const names = new Set<string>();
  const build = ({ step, path }: { readonly step: RawStep; readonly path: Path }, atMs: number): PlacedStep => ({
    ...stepOf(step, atMs, names, path, problems),
    line: lineOf(path),
    path,
  });
  const main = placed('timeline').map((one) => build(one, msOf(one.step.at)));
  const endMs = Math.max(0, ...main.map(({ atMs, forMs = 0 }) => atMs + forMs));
  const last = placed('rollback').map((one) => build(one, one.step.at === undefined ? endMs : msOf(one.step.at)));
  const steps = [...main, ...last].toSorted((a, b) => a.atMs - b.atMs);
  for (const step of steps) checkStep(step, estate, steps, problems);
  return steps;
}

/** The schema has checked the form. */
const msOf = (time: RawStep[string]): number => toMilliseconds(String(time)) ?? 0;

function stepOf(raw: RawStep, atMs: number, names: Set<string>, path: Path, problems: Problems): Omit<Step, 'line'> {
  // `start: true` is an option of give-back; `start: <group>` is an action.
  const action = actionNames.find((name) => raw[name] !== undefined && raw[name] !== true) ?? 'give-back';
  const target = raw[action];
  const targets = (Array.isArray(target) ? target : [target]).map(targetOf);
  const name = typeof raw.as === 'string' ? raw.as : freeName([action, ...targets].join('-'), names);
  if (names.has(name))
    problems.add([...path, 'as'], `two steps have the name "${name}"`, 'Give one of them another name with as:.');
  names.add(name);
  const options = Object.fromEntries(
    Object.entries(raw).flatMap(([option, value]) => {
      if (value === undefined || typeof value === 'object' || option === action || ['at', 'as', 'for'].includes(option))
        return [];
      return [[option, option === 'by' ? msOf(value) : (value as string | number | boolean)]];
    }),
  );
  return { name, atMs, action, targets, ...(raw.for !== undefined && { forMs: msOf(raw.for) }), options };
}

/** `kill-nats`, and `kill-nats-2` for the second. */
function freeName(name: string, names: ReadonlySet<string>): string {
  for (let count = 1; ; count += 1) {
    const candidate = count === 1 ? name : `${name}-${count}`;
    if (!names.has(candidate)) return candidate;
  }
}

function checkStep(step: PlacedStep, estate: Estate, steps: readonly PlacedStep[], problems: Problems): void {
  const { action, path, name, atMs, forMs = 0, targets } = step;
  if (groupsOf(estate).some((group) => group.name === name) || keysOf({ estate, timeline: steps }).includes(name))
    problems.add(
      [...path, 'as'],
      `the step "${name}" has the name of a group or a key`,
      'Give it another name with as:.',
    );
  if (atMs + forMs > END_MAX_MS)
    problems.add(
      path,
      `"${name}" ends ${durationText(atMs + forMs)} after the start; a timeline lasts at most 24h`,
      'Use shorter times.',
    );
  checkOptions(step, problems);
  checkHosts(step, estate, problems);
  const kind = targetKindOf(action);
  if (kind === 'step') checkGiveBack(step, steps, problems);
  else if (kind === 'two-parts' && targets[0] === targets[1])
    problems.add([...path, action], `"${name}" cuts ${targets[0]} from itself`, 'Name two different parts.');
  else if (kind === 'key' || kind === 'group') checkTarget(step, kind, { estate, timeline: steps }, problems);
}

function checkOptions({ action, path, options, forMs, name }: PlacedStep, problems: Problems): void {
  const known: Readonly<Record<string, string>> = kindOf(action)?.options ?? {};
  for (const [option, need] of Object.entries(known))
    if (need === 'needed' && options[option] === undefined)
      problems.add(path, `${action} needs ${option}`, `Add ${examples[option]}.`);
  for (const option of Object.keys(options)) {
    if (known[option] !== undefined || (option === 'leave' && targetKindOf(action) === 'key')) continue;
    problems.add([...path, option], `${action} has no option ${option}`, `Remove ${option} from "${name}".`);
  }
  if (action !== 'shift-clock' && Number(options.by) < 0)
    problems.add([...path, 'by'], `${action} cannot delay by a negative time`, 'Write for example by: 200ms.');
  if (forMs !== undefined && !isUndoable(action))
    problems.add([...path, 'for'], `${action} cannot be undone, so it has no for`, `Remove for from "${name}".`);
}

const examples: Readonly<Record<string, string>> = {
  permission: 'permission: unwrap (or get, wrap)',
  operation: 'operation: unwrap (or wrap)',
  to: 'to: <name of the new key, or of a disk host>',
  by: 'by: 200ms',
};

function checkTarget(
  { action, path, targets: [target = ''], options }: PlacedStep,
  kind: 'key' | 'group',
  { estate, timeline }: Plan,
  problems: Problems,
): void {
  if (estate.kind === 'existing') return;
  const groups = groupsOf(estate);
  const group = groups.find(({ name }) => name === target);
  const keys = kind === 'key' ? keysOf({ estate, timeline }) : [];
  if (group === undefined && !keys.includes(target))
    problems.add(
      [...path, action],
      `"${target}" is no group${kind === 'key' ? ' or key' : ''} of the estate`,
      cureOfName(target, [...groups.map(({ name }) => name), ...keys]),
    );
  if (kind === 'key' && group !== undefined && keyOfTarget(estate, target) === 'platform')
    problems.add(
      [...path, action],
      `${target} has no key of the customer`,
      'Give the group a key, or name another group or key.',
    );
  if (action === 'detach' && group?.disks.length === 1)
    problems.add([...path, action], `${target} has no data disk to detach`, 'Add a second disk to the group.');
  if (action === 'assign-key' && (options.to === target || options.to === keyOfTarget(estate, target)))
    problems.add([...path, 'to'], `the key ${options.to} is assigned already`, 'Name another key.');
}

/** Whether a step is a give-back that undoes itself, also through other give-backs. */
function isCircle(start: PlacedStep, steps: readonly PlacedStep[]): boolean {
  const seen = new Set<string>();
  for (let at: PlacedStep | undefined = start; at?.action === 'give-back'; ) {
    if (seen.has(at.name)) return true;
    seen.add(at.name);
    const [next]: readonly string[] = at.targets;
    at = steps.find(({ name }) => name === next);
  }
  return false;
}

function checkGiveBack(step: PlacedStep, steps: readonly PlacedStep[], problems: Problems): void {
  const [name = ''] = step.targets;
  const at = [...step.path, 'give-back'];
  const undone = steps.find((one) => one.name === name);
  if (undone === undefined) {
    problems.add(
      at,
      `give-back names "${name}", and no step has that name`,
      cureOfName(
        name,
        steps.filter((one) => isUndoable(one.action)).map((one) => one.name),
      ),
    );
  } else if (isCircle(undone, steps))
    problems.add(
      at,
      `the give-backs refer to each other in a circle: "${step.name}" undoes "${name}"`,
      'Name the step that took the key away.',
    );
  else if (undone.action === 'give-back')
    problems.add(
      at,
      `give-back undoes "${name}", which is a give-back itself`,
      'Name the step that took the key away.',
    );
  else if (!isUndoable(undone.action))
    problems.add(
      at,
      `"${name}" cannot be undone: ${undone.action} is final`,
      undone.action === 'purge-key'
        ? 'Remove the give-back, and add leave: true to the purge-key, or use delete-key.'
        : 'Remove the give-back.',
    );
  else if (undone.forMs !== undefined)
    problems.add(
      at,
      `"${name}" is undone by its for: ${durationText(undone.forMs)} already`,
      'Remove for: from it, or the give-back.',
    );
  else if (steps.indexOf(undone) > steps.indexOf(step))
    problems.add(
      at,
      `give-back at ${durationText(step.atMs)} undoes "${name}", which comes later (${durationText(undone.atMs)})`,
      'Move the give-back behind it.',
    );
  else {
    const first = steps.find((one) => one.action === 'give-back' && one.targets[0] === name);
    if (first !== step) problems.add(at, `"${name}" is given back twice`, 'Remove one give-back.');
  }
}
