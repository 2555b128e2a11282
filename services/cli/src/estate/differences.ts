import type { JsonObject } from '@bufbuild/protobuf';
import { disksOfMachine, type EstateFile, skuOfClass } from '@interlock/lab';
import { isObject } from '../request/schema.ts';
import { objectsIn } from '../verbs/before.ts';

/** A property of an existing resource, and the one that the file wants. */
type Property = readonly [name: string, has: unknown, wanted: unknown];

/** Existing resources with other properties than in the estate, as lines for the user; empty if there are none. */
export function differences(
  estate: EstateFile,
  parent: string,
  existing: ReadonlyMap<string, JsonObject>,
): readonly string[] {
  const compared = (
    what: string,
    full: string,
    properties: (has: JsonObject) => readonly Property[],
  ): readonly string[] => {
    const has = existing.get(full);
    const wrong = has === undefined ? [] : properties(has).filter(([, is, wanted]) => String(is) !== String(wanted));
    return wrong.map(
      ([name, is, wanted]) =>
        `${what} exists with ${name} ${String(is) || 'none'}, the file says ${String(wanted) || 'none'}${cure(name)}`,
    );
  };
  const located = ({ location: is }: JsonObject, location = estate.location): Property => ['location', is, location];
  const keys = estate.vaults.flatMap(({ name, keys: all }) => all.map((key) => ({ ...key, vault: name })));
  return [
    ...estate.vaults.flatMap((vault) =>
      compared(`vault ${vault.name}`, `vaults/${vault.name}`, (has) => [
        ['resource group', has.resourceGroup, parent],
        located(has, vault.location),
        [
          'permissions',
          has.permissionModel === 'ROLE_ASSIGNMENT' ? 'roles' : 'policies',
          vault.permissions ?? 'policies',
        ],
      ]),
    ),
    ...keys.flatMap(({ vault, name, bits = 2048 }) =>
      compared(`key ${vault}/${name}`, `vaults/${vault}/keys/${name}`, (has) => [['bits', has.keySizeBits, bits]]),
    ),
    ...estate.sets.flatMap((set) =>
      compared(`set ${set.name}`, `${parent}/diskEncryptionSets/${set.name}`, (has) => [
        located(has, set.location),
        ['key', keyOf(has), set.key],
        ['encryption', encryptionOf(has), set.encryption ?? 'customer-key'],
      ]),
    ),
    ...estate.disks.flatMap((disk) =>
      compared(`disk ${disk.name}`, `${parent}/disks/${disk.name}`, (has) => [
        located(has, disk.location),
        ['class', has.sku, skuOfClass[disk.class]],
        ['GiB', has.sizeGib, disk.gib],
        ['set', isObject(has.encryption) ? last(has.encryption.diskEncryptionSet) : '', disk.set ?? ''],
      ]),
    ),
    ...estate.machines.flatMap((machine) =>
      compared(`machine ${machine.name}`, `${parent}/virtualMachines/${machine.name}`, (has) => [
        located(has, machine.location),
        ['guest', String(has.guest ?? 'PROCESS').toLowerCase(), machine.guest ?? 'process'],
        ['disks', disksOf(has).toSorted().join(', '), disksOfMachine(machine).toSorted().join(', ')],
      ]),
    ),
  ];
}

const disksOf = ({ osDisk, dataDisks }: JsonObject): readonly string[] =>
  [...(isObject(osDisk) ? [osDisk] : []), ...objectsIn(dataDisks)].map(({ disk }) => last(disk));

const encryptionOf = ({ encryptionType }: JsonObject): string =>
  /PLATFORM_AND/.test(String(encryptionType)) ? 'platform-and-customer-keys' : 'customer-key';

/** A vault of another group is most often the original of a copy. */
const cure = (property: string): string =>
  property === 'resource group' ? ': choose other names of vaults with --vault-suffix' : '';

const keyOf = ({ activeKey }: JsonObject): string => {
  const [, vault, , key] = isObject(activeKey) ? String(activeKey.keyVersion).split('/') : [];
  return `${vault}/${key}`;
};

const last = (name: unknown): string => (typeof name === 'string' ? (name.split('/').at(-1) ?? '') : '');
