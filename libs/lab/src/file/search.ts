import type { Search, SearchAction, SearchRange } from '../experiment.ts';
import { toMilliseconds } from '../expressions/duration.ts';
import { kindOf, targetKindOf } from '../timeline/actions.ts';
import { groupsOf, keysOf, type Plan } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import { targetOf } from './hosts.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { RawSearchAction, Shaped } from './shape.ts';
import { searchableActions } from './step-schema.ts';

/** Actions of a timeline of a search, and its latest moment, if the file does not say. */
const defaults = { steps: 6, within: '20s' } as const;

/** The section `search`; undefined if the file has none. */
export function searchOf({ raw, place }: Shaped, plan: Plan, problems: Problems): Search | undefined {
  const { search } = raw;
  if (search === undefined) return undefined;
  const { steps = defaults.steps, within = defaults.within, actions } = search;
  return {
    steps,
    withinMs: toMilliseconds(within) ?? 0,
    ...(actions && {
      actions: actions.map((one, index) => actionOf(one, plan, place('search', 'actions', index), problems)),
    }),
  };
}

/** What a search may do if the file has no section `search`. */
export const defaultSearch: Search = { steps: defaults.steps, withinMs: toMilliseconds(defaults.within) ?? 0 };

/** The schema has checked the form. */
function actionOf(raw: RawSearchAction, plan: Plan, path: Path, problems: Problems): SearchAction {
  const action = searchableActions.find((name) => raw[name] !== undefined) ?? 'kill';
  const written = raw[action];
  const targets = Array.isArray(written) ? written.map(targetOf) : undefined;
  const kind = targetKindOf(action);
  const groups = groupsOf(plan.estate).map(({ name }) => name);
  const known = kind === 'group' ? groups : kind === 'key' ? [...groups, ...keysOf(plan)] : undefined;
  for (const target of known === undefined ? [] : (targets ?? []))
    if (!known?.includes(target))
      problems.add(
        [...path, action],
        `"${target}" is no group${kind === 'key' ? ' or key' : ''} of the estate`,
        cureOfName(target, known ?? []),
      );
  const hasBy = kindOf(action)?.options?.by !== undefined;
  if (raw.by !== undefined && !hasBy)
    problems.add([...path, 'by'], `${action} has no option by`, 'Remove by from the entry.');
  const range = (name: 'at' | 'for' | 'by') => rangeOf(raw[name], [...path, name], problems);
  const [at, duration, by] = [range('at'), range('for'), range('by')];
  return {
    action,
    ...(targets && { targets }),
    ...(at && { at }),
    ...(duration && { for: duration }),
    ...(by && { by }),
  };
}

/** A range in milliseconds. */
function rangeOf(raw: RawSearchAction[string], path: Path, problems: Problems): SearchRange | undefined {
  if (!Array.isArray(raw)) return undefined;
  const [fromMs = 0, toMs = 0] = raw.map((time) => toMilliseconds(String(time)) ?? 0);
  if (fromMs > toMs)
    problems.add(
      path,
      `the range [${raw.join(', ')}] ends before it begins`,
      `Write [${raw.toReversed().join(', ')}].`,
    );
  return { fromMs, toMs };
}
