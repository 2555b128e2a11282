import { diskHostNamed, diskHostOf, type Estate, isDiskHostTarget, type Step } from '../experiment.ts';
import { actions } from '../timeline/actions.ts';
import { groupsOf } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { RawDiskHost } from './shape.ts';

/** The target of a step as one word: `{disk-host-of: premium}` is `disk-host-of-premium`. */
export const targetOf = (written: unknown): string =>
  typeof written === 'object' && written !== null
    ? diskHostOf((written as RawDiskHost)['disk-host-of'])
    : String(written);

/** Checks that the estate has the disk hosts that a step names. Those of existing machines are known only to their cloud. */
export function checkDiskHosts(
  { action, targets, path, name }: Step & { readonly path: Path },
  estate: Estate,
  problems: Problems,
): void {
  if (estate.kind === 'existing') return;
  for (const target of targets.filter(isDiskHostTarget)) {
    const found = problemOf(target, estate);
    if (found !== undefined) problems.add([...path, action], `"${name}" names ${target}, ${found.message}`, found.cure);
  }
  if (action === 'cut' && targets.every(isDiskHostTarget))
    problems.add(
      [...path, action],
      `"${name}" cuts ${targets.join(' from ')}, and disk hosts do not call each other`,
      'Cut each of them from disk, or from what else it calls.',
    );
  // The process of disk has no volumes then.
  if (estate.diskHosts !== undefined && isOfStorage(action) && targets.includes('disk'))
    problems.add(
      [...path, action],
      `"${name}" is about the storage of disk, and with diskHosts only disk hosts have volumes`,
      'Name one of them, for example disk-host-0.',
    );
}

type Planned = Extract<Estate, { readonly kind: 'planned' }>;

const problemOf = (target: string, estate: Planned) => {
  const { diskHosts } = estate;
  const named = diskHostNamed(target);
  if (named === undefined)
    return { message: 'which is no disk host', cure: 'Write disk-host-<number>, or {disk-host-of: <group>}.' };
  if (diskHosts === undefined)
    return {
      message: 'and the estate has no disk hosts of their own',
      cure: 'Add diskHosts: 3 to the estate, or name disk.',
    };
  if ('host' in named)
    return named.host < diskHosts
      ? undefined
      : {
          message: `and the estate has diskHosts: ${diskHosts}`,
          cure: `Name disk-host-0 to disk-host-${diskHosts - 1}.`,
        };
  const groups = groupsOf(estate).map((group) => group.name);
  return groups.includes(named.group)
    ? undefined
    : { message: `and "${named.group}" is no group of the estate`, cure: cureOfName(named.group, groups) };
};

const isOfStorage = (action: Step['action']): boolean =>
  action.endsWith('-storage') && actions[action].targets === 'part';
