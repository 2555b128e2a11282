import {
  diskHostOf,
  type Estate,
  type HostTarget,
  hostNamed,
  isDiskHostTarget,
  isHostTarget,
  isVmHostTarget,
  type Step,
  vmHostOf,
} from '../experiment.ts';
import { actions, targetKindOf } from '../timeline/actions.ts';
import { groupsOf } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import { cureOfName, type Problems } from './problems.ts';
import type { RawHost } from './shape.ts';

/** The target of a step as one word: `{disk-host-of: premium}` is `disk-host-of-premium`. */
export const targetOf = (written: unknown): string => {
  if (typeof written !== 'object' || written === null) return String(written);
  const host = written as RawHost;
  return 'vm-host-of' in host ? vmHostOf(host['vm-host-of']) : diskHostOf(host['disk-host-of']);
};

/** Checks that the estate has the hosts that a step names. Those of existing machines are known only to their cloud. */
export function checkHosts(step: Step & { readonly path: Path }, estate: Estate, problems: Problems): void {
  if (estate.kind === 'existing') return;
  const { action, targets, path, name, options } = step;
  const named = action === 'move-disk' ? [...targets, String(options.to)].slice(1) : targets;
  if (action === 'move-disk' && !isDiskHostTarget(String(options.to)))
    problems.add(
      [...path, 'to'],
      `"${name}" moves disks to ${options.to}, which is no disk host`,
      'Write to: disk-host-1.',
    );
  for (const target of named.filter(isHostTarget)) {
    const found = problemOf(target, estate);
    if (found !== undefined) problems.add([...path, action], `"${name}" names ${target}, ${found.message}`, found.cure);
  }
  if (action === 'cut') checkCut(step, problems);
  if (action.endsWith('-storage') && actions[action].targets === 'part') checkStorage(step, estate, problems);
  if (targetKindOf(action) === 'host') checkLast(step, estate, problems);
}

function checkCut({ action, targets, path, name }: Step & { readonly path: Path }, problems: Problems): void {
  const kinds = [isDiskHostTarget, isVmHostTarget].find((isKind) => targets.every(isKind));
  if (kinds === isVmHostTarget)
    problems.add(
      [...path, action],
      `"${name}" cuts ${targets.join(' from ')}, and VM hosts do not call each other`,
      'Cut each of them from compute, or from a disk host.',
    );
}

function checkStorage(step: Step & { readonly path: Path }, { diskHosts }: Planned, problems: Problems): void {
  const { action, targets, path, name } = step;
  // The process of disk has no volumes then.
  if (diskHosts !== undefined && targets.includes('disk'))
    problems.add(
      [...path, action],
      `"${name}" is about the storage of disk, and with diskHosts only disk hosts have volumes`,
      'Name one of them, for example disk-host-0.',
    );
  const vmHost = targets.find(isVmHostTarget);
  if (vmHost !== undefined)
    problems.add(
      [...path, action],
      `"${name}" is about the storage of ${vmHost}, and a VM host has no disks of machines`,
      'Name a disk host.',
    );
}

/** A drain needs another host of its kind that takes over. */
function checkLast(
  { action, targets, path, name }: Step & { readonly path: Path },
  estate: Planned,
  problems: Problems,
): void {
  for (const target of targets.filter(isHostTarget)) {
    const isVm = isVmHostTarget(target);
    if (action !== 'drain-host' || (isVm ? estate.vmHosts : estate.diskHosts) !== 1) continue;
    problems.add(
      [...path, action],
      `"${name}" empties ${target}, and the estate has no other host for what is there`,
      `Write ${isVm ? 'vmHosts' : 'diskHosts'}: 2, or more.`,
    );
  }
}

type Planned = Extract<Estate, { readonly kind: 'planned' }>;

const problemOf = (target: HostTarget, estate: Planned) => {
  const kind = isVmHostTarget(target)
    ? { prefix: 'vm-host', words: 'VM host', field: 'vmHosts', count: estate.vmHosts, part: 'compute' }
    : { prefix: 'disk-host', words: 'disk host', field: 'diskHosts', count: estate.diskHosts, part: 'disk' };
  const named = hostNamed(target);
  if (named === undefined)
    return {
      message: `which is no ${kind.words}`,
      cure: `Write ${kind.prefix}-<number>, or {${kind.prefix}-of: <group>}.`,
    };
  if (kind.count === undefined)
    return {
      message: `and the estate has no ${kind.words}s of their own`,
      cure: `Add ${kind.field}: 3 to the estate, or name ${kind.part}.`,
    };
  if ('host' in named)
    return named.host < kind.count
      ? undefined
      : {
          message: `and the estate has ${kind.field}: ${kind.count}`,
          cure: `Name ${kind.prefix}-0 to ${kind.prefix}-${kind.count - 1}.`,
        };
  const groups = groupsOf(estate).map((group) => group.name);
  return groups.includes(named.group)
    ? undefined
    : { message: `and "${named.group}" is no group of the estate`, cure: cureOfName(named.group, groups) };
};
