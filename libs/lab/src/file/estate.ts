import {
  cloudParts,
  type DiskClass,
  type Estate,
  isFaultTarget,
  type PlannedDisk,
  type PlannedGroup,
} from '../experiment.ts';
import { runQuantities } from '../expressions/vocabulary.ts';
import { concerns, groupsOf, keysOf, type Plan } from '../timeline/concerns.ts';
import type { Path } from './document.ts';
import type { Problems } from './problems.ts';
import type { RawDisk, RawGroup, Shaped } from './shape.ts';

/** Classes that no machine can boot from. */
const dataOnly: readonly DiskClass[] = ['ultra', 'premium-ssd-v2'];

/** The estate of a file. */
export function estateOf(shaped: Shaped, problems: Problems, lineOf: (path: Path) => number): Estate {
  const { raw, place } = shaped;
  const { existing, diskHosts, vmHosts, ...rest } = raw.estate as Readonly<Record<string, unknown>>;
  if (existing !== undefined) {
    for (const name of Object.keys(rest))
      problems.add(
        place('estate', name),
        `estate has existing and the group ${name}`,
        'Remove one of them: machines either exist or are made.',
      );
    for (const [name, count] of Object.entries({ diskHosts, vmHosts }))
      if (count !== undefined)
        problems.add(
          place('estate', name),
          `estate has existing and ${name}`,
          `Remove ${name}: a cloud that exists has its hosts.`,
        );
    const { group: resourceGroup } = existing as { readonly group: string };
    return { kind: 'existing', resourceGroup, line: lineOf(place('estate', 'existing')) };
  }
  const groups = Object.entries(rest).map(([name, group]) =>
    groupOf(name, group as RawGroup, shaped, problems, lineOf),
  );
  if (groups.length === 0) problems.add(place('estate'), 'the estate has no group', 'Add a group of machines.');
  const estate: Estate = {
    kind: 'planned',
    groups,
    ...(diskHosts === undefined ? {} : { diskHosts: Number(diskHosts) }),
    ...(vmHosts === undefined ? {} : { vmHosts: Number(vmHosts) }),
  };
  for (const name of keysOf({ estate, timeline: [] })) {
    const group = groups.find((one) => one.name === name);
    if (group !== undefined && group.key !== name)
      problems.add(
        place('estate', name),
        `${name} is a group and a key of other disks, so a step could mean either`,
        'Rename one of them.',
      );
  }
  return estate;
}

const isReserved = (name: string): boolean =>
  isFaultTarget(name) || name === 'platform' || Object.hasOwn(runQuantities, name);

function groupOf(
  name: string,
  raw: RawGroup,
  { place }: Shaped,
  problems: Problems,
  lineOf: (path: Path) => number,
): PlannedGroup {
  if (!/^[A-Za-z][A-Za-z0-9-]{0,30}$/.test(name) || isReserved(name))
    problems.add(
      place('estate', name),
      isReserved(name)
        ? `the name of the group, "${name}", has another meaning here`
        : `"${name}" cannot be the name of a group`,
      `Use at most 31 letters, digits and hyphens, and none of ${cloudParts.join(', ')}, disk-host-…, vm-host-…, platform.`,
    );
  const key = raw.key === 'platform' ? '' : (raw.key ?? '');
  const disks = raw.disks.map((disk) => diskOf(disk, key === '' ? 'platform' : key));
  const [osDisk] = disks;
  if (osDisk !== undefined && dataOnly.includes(osDisk.class))
    problems.add(
      place('estate', name, 'disks', 0),
      `the first disk of ${name} is ${osDisk.class}, and machines cannot start from it`,
      'Put an OS disk before it, for example standard-ssd: platform.',
    );
  if (raw.key === undefined && raw.disks.some((disk) => typeof disk === 'string'))
    problems.add(place('estate', name), `${name} has disks without a key`, 'Add key: k1, or key: platform.');
  const guest = raw.guest === 'qemu' ? { guest: raw.guest } : {};
  const loss = raw.onHostLoss === 'restart' ? { onHostLoss: raw.onHostLoss } : {};
  return { name, machines: raw.machines, disks, key, line: lineOf(place('estate', name)), ...guest, ...loss };
}

const diskOf = (raw: RawDisk, key: string): PlannedDisk => {
  if (typeof raw === 'string') return { class: raw as DiskClass, key };
  const [[name, own] = ['', '']] = Object.entries(raw);
  return { class: name as DiskClass, key: own };
};

/** Checks that no step concerns a control: a group named control…, or with `role: control`. */
export function checkRoles(plan: Plan, { raw, place }: Shaped, problems: Problems): void {
  for (const { name } of groupsOf(plan.estate)) {
    const stated = Reflect.get(raw.estate, name)?.role ?? (/^control/i.test(name) ? 'control' : undefined);
    const step = plan.timeline.find((one) => one.action !== 'give-back' && concerns(plan, one, name));
    if (stated === 'control' && step !== undefined)
      problems.add(
        place('estate', name),
        `the control group ${name} is under the key of the treatment: "${step.name}" (line ${step.line}) concerns it`,
        `Give ${name} a key of its own, for example key: other, or another name.`,
      );
    if (stated === 'treatment' && step === undefined)
      problems.add(
        place('estate', name),
        `${name} has the role treatment, and no step concerns it`,
        'Remove the role, or add a step.',
      );
  }
}
