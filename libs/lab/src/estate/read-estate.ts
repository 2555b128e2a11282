import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import schema from '../../estate.schema.json' with { type: 'json' };
import type { Problem } from '../experiment.ts';
import { type DocumentKind, type Path, readDocument } from '../file/document.ts';
import { cureOfName, type Problems, problemsOf } from '../file/problems.ts';
import { checkSchema } from '../file/schema-problems.ts';
import { disksOfMachine, type EstateDisk, type EstateFile, type EstateSet } from './estate-file.ts';

/** Some 50,000 machines. */
const kind: DocumentKind = {
  what: 'an estate',
  charactersMax: 16 * 1_024 ** 2,
  start: 'Start with location, vaults, sets, disks and machines.',
};

let compiled: ValidateFunction | undefined;

/** Compiled at the first file. */
const validator = (): ValidateFunction => {
  compiled ??= new Ajv2020({ allErrors: true, verbose: true }).compile(schema);
  return compiled;
};

/** Reads an estate file. @param text YAML as `estate.schema.json` describes it @returns the estate, or all problems by line */
export function readEstate(text: string): { readonly estate: EstateFile } | { readonly problems: readonly Problem[] } {
  const document = readDocument(text, kind);
  if ('problems' in document) return document;
  const problems = problemsOf(document);
  checkSchema(document.data, { schema, validate: validator() }, problems);
  if (problems.found.length > 0) return { problems: problems.found };
  const estate = document.data as EstateFile;
  checkNames(estate, problems);
  checkSets(estate, problems);
  checkDisks(estate, problems);
  checkMachines(estate, problems);
  return problems.found.length > 0 ? { problems: problems.found } : { estate };
}

/** Names are unique within their kind; their letter case does not count. */
function checkNames({ vaults, sets, disks, machines }: EstateFile, problems: Problems): void {
  const check = (kindName: string, all: readonly { readonly name: string }[], path: Path): void => {
    const known = new Set<string>();
    for (const [index, { name }] of all.entries()) {
      if (known.has(name.toLowerCase()))
        problems.add([...path, index, 'name'], `two ${kindName} have the name "${name}"`, 'Rename one of them.');
      known.add(name.toLowerCase());
    }
  };
  check('vaults', vaults, ['vaults']);
  for (const [index, { keys }] of vaults.entries()) check('keys of the vault', keys, ['vaults', index, 'keys']);
  check('sets', sets, ['sets']);
  check('disks', disks, ['disks']);
  check('machines', machines, ['machines']);
}

function checkSets({ location, vaults, sets }: EstateFile, problems: Problems): void {
  const keys = new Map(
    vaults.flatMap((vault) => vault.keys.map((key) => [`${vault.name}/${key.name}`, { vault, key }])),
  );
  for (const [index, set] of sets.entries()) {
    const found = keys.get(set.key);
    if (found === undefined) {
      const message = `the set ${set.name} names the key "${set.key}", which is in no vault of the file`;
      problems.add(['sets', index, 'key'], message, cureOfName(set.key, [...keys.keys()]));
      continue;
    }
    const versions = found.key.versions?.length ?? 1;
    if ((set.version ?? 1) > versions)
      problems.add(
        ['sets', index, 'version'],
        `the set ${set.name} names version ${set.version} of ${set.key}, which has ${versions}`,
        `Write 1 to ${versions}, or add versions to the key.`,
      );
    const [own, of] = [set.location ?? location, found.vault.location ?? location];
    if (own !== of)
      problems.add(
        ['sets', index],
        `the set ${set.name} is in ${own} and its vault ${found.vault.name} in ${of}`,
        'Use a vault of the same region.',
      );
  }
}

function checkDisks({ location, sets, disks }: EstateFile, problems: Problems): void {
  const known = new Map(sets.map((set): [string, EstateSet] => [set.name, set]));
  for (const [index, disk] of disks.entries()) {
    if (disk.set === undefined) continue;
    const set = known.get(disk.set);
    if (set === undefined) {
      const message = `the disk ${disk.name} names the set "${disk.set}", which is not in the file`;
      problems.add(['disks', index, 'set'], message, cureOfName(disk.set, [...known.keys()]));
      continue;
    }
    const [own, of] = [disk.location ?? location, set.location ?? location];
    if (own !== of)
      problems.add(
        ['disks', index],
        `the disk ${disk.name} is in ${own} and its set ${set.name} in ${of}`,
        'Use a set of the same region.',
      );
    if (set.encryption === 'platform-and-customer-keys' && !canBoot(disk))
      problems.add(
        ['disks', index, 'set'],
        `a ${disk.class} disk cannot be under the two keys of ${set.name}`,
        'Use a set with encryption: customer-key.',
      );
  }
}

function checkMachines({ location, disks, machines }: EstateFile, problems: Problems): void {
  const known = new Map(disks.map((disk): [string, EstateDisk] => [disk.name, disk]));
  const holders = new Map<string, string>();
  for (const [index, machine] of machines.entries()) {
    const path = ['machines', index];
    const own = machine.location ?? location;
    for (const name of disksOfMachine(machine)) {
      const disk = known.get(name);
      const holder = holders.get(name);
      if (disk === undefined)
        problems.add(
          path,
          `the machine ${machine.name} names the disk "${name}", which is not in the file`,
          cureOfName(name, [...known.keys()].slice(0, 20)),
        );
      else if (holder !== undefined)
        problems.add(
          path,
          `the disk ${name} belongs to ${holder} and to ${machine.name}`,
          'Give each machine a disk of its own.',
        );
      else if ((disk.location ?? location) !== own)
        problems.add(
          path,
          `the machine ${machine.name} is in ${own} and its disk ${name} in ${disk.location ?? location}`,
          'Use disks of the same region.',
        );
      holders.set(name, machine.name);
    }
    const os = known.get(machine.osDisk);
    if (os !== undefined && !canBoot(os))
      problems.add(
        [...path, 'osDisk'],
        `machines cannot start from the ${os.class} disk ${os.name}`,
        'Use a premium-ssd, standard-ssd or standard-hdd disk.',
      );
    const luns = (machine.dataDisks ?? []).map(({ lun }) => lun);
    const twice = luns.find((lun, at) => luns.indexOf(lun) !== at);
    if (twice !== undefined)
      problems.add(
        [...path, 'dataDisks'],
        `two disks of ${machine.name} have the LUN ${twice}`,
        'Give each another number.',
      );
  }
}

/** Whether a disk has a class that machines start from, and that two keys can encrypt. */
const canBoot = (disk: EstateDisk): boolean => disk.class !== 'ultra' && disk.class !== 'premium-ssd-v2';
