import { cloudParts, type PlannedGroup } from '../experiment.ts';
import { runQuantities } from '../expressions/vocabulary.ts';
import { disksOfMachine, type EstateFile } from './estate-file.ts';

/** Longest name of a group, in characters. */
const NAME_MAX = 31;

/**
 * The machines of an estate as groups of an experiment: each running machine is a group with its own name, and a key has its
 * short name, or `<vault>-<key>` where two vaults have a key of that name. A name that an experiment cannot use is changed:
 * other characters become hyphens, and `-vm` is added to the name of a key or a part of the cloud.
 */
export function groupsOfEstate(estate: EstateFile): readonly PlannedGroup[] {
  const keys = keyNames(estate);
  const sets = new Map(estate.sets.map(({ name, key }) => [name, keys.get(key) ?? 'platform']));
  const disks = new Map(estate.disks.map((disk) => [disk.name, disk]));
  const taken = new Set<string>([
    ...keys.values(),
    ...cloudParts,
    ...Object.keys(runQuantities),
    'platform',
    'existing',
  ]);
  return estate.machines
    .filter(({ running }) => running !== false)
    .map((machine): PlannedGroup => {
      const planned = disksOfMachine(machine).flatMap((name) => {
        const disk = disks.get(name);
        return disk === undefined ? [] : [{ class: disk.class, key: sets.get(disk.set ?? '') ?? 'platform' }];
      });
      const key = planned.map((disk) => disk.key).find((one) => one !== 'platform') ?? '';
      return { name: groupName(machine.name, taken), machines: 1, disks: planned, key };
    });
}

/** Names of keys in an experiment, by `vault/key`. */
function keyNames({ vaults }: EstateFile): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const { name: vault, keys } of vaults)
    for (const { name } of keys) {
      const plain = /^[A-Za-z]/.test(name) && name !== 'platform' && !taken.has(name) ? name : `${vault}-${name}`;
      taken.add(plain);
      names.set(`${vault}/${name}`, plain);
    }
  return names;
}

/** @param taken receives the name */
function groupName(machine: string, taken: Set<string>): string {
  const plain = machine.replace(/[^A-Za-z0-9-]/g, '-').replace(/^(?![A-Za-z])/, 'vm-');
  const cut = (suffix: string): string => `${plain.slice(0, NAME_MAX - suffix.length)}${suffix}`;
  let name = cut('');
  for (let n = 1; taken.has(name); n += 1) name = cut(n === 1 ? '-vm' : `-vm-${n}`);
  taken.add(name);
  return name;
}
