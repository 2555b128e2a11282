import { disksOfMachine, type EstateMachine } from '../estate-file.ts';
import { type DiskFacts, type DiskMapping, type MappedDisk, mapDisk, type PlacedDisk } from './disks.ts';
import { type AzureId, azureId, type TwinNames } from './ids.ts';
import { regionOf } from './notes.ts';
import { objectIn, objectsIn, type Row, textOf } from './rows.ts';

export type PlacedMachine = EstateMachine & { readonly location: string };

/** Context for the mapping of machines. Disks that only the row of a machine names are added to `disks`. */
export interface MachineMapping extends DiskMapping {
  /** By id in lower case. */
  readonly disks: Map<string, MappedDisk>;
  /** Names of the disks that a machine has. */
  readonly taken: Set<string>;
  readonly machineNames: TwinNames;
}

/** A machine of the twin. */
export interface MappedMachine {
  readonly machine: PlacedMachine;
  /** Disks created for this machine: copies of shared disks, and the substitute of an ephemeral OS disk. */
  readonly added: readonly PlacedDisk[];
}

/** A disk of a machine: its disk in the twin, or why it has none, and whether the machine can be mapped without it. */
type Attached =
  | { readonly disk: PlacedDisk; readonly isAdded?: boolean }
  | { readonly reason: string; readonly isNeeded: boolean; readonly name: string };

/** Maps one machine with its disks; undefined if it is not mapped, which is noted. */
export function mapMachine(row: Row, id: AzureId, mapping: MachineMapping): MappedMachine | undefined {
  const { machineNames, notes } = mapping;
  const what = `machine ${id.name} (group ${id.group})`;
  const security = textOf(objectIn(row, 'securityprofile').securitytype);
  if (/^ConfidentialVM/i.test(security)) return notes.drop(what, `its security type ${security} has no counterpart`);
  const location = regionOf(textOf(row.location));
  const profile = objectIn(row, 'storageprofile');
  const osRow = objectIn(profile, 'osdisk');
  const os = attachedOf(osRow, true, id, location, mapping);
  if ('reason' in os) return notes.drop(what, `its OS disk ${os.name} is not mapped: ${os.reason}`);
  if (os.disk.class === 'ultra' || os.disk.class === 'premium-ssd-v2')
    return notes.drop(what, `its OS disk ${os.disk.name} is ${os.disk.class}, and machines cannot start from it`);
  const data: { lun: number; disk: PlacedDisk; isAdded?: boolean }[] = [];
  for (const one of objectsIn(profile, 'datadisks')) {
    const attached = attachedOf(one, false, id, location, mapping);
    if ('disk' in attached) data.push({ lun: Number(one.lun ?? data.length), ...attached });
    else if (attached.isNeeded)
      return notes.drop(what, `its disk ${attached.name} is under a key and is not mapped: ${attached.reason}`);
    else notes.change(what, `it has no disk ${attached.name}: ${attached.reason}`);
  }
  const elsewhere = [os, ...data].find(({ disk }) => disk.location !== location);
  if (elsewhere !== undefined)
    return notes.drop(what, `it is in ${location} and its disk ${elsewhere.disk.name} in ${elsewhere.disk.location}`);
  const machine: PlacedMachine = {
    name: machineNames.nameOf(id),
    location,
    osDisk: os.disk.name,
    ...(data.length === 0 ? {} : { dataDisks: data.map(({ lun, disk }) => ({ lun, disk: disk.name })) }),
    ...(isRunning(row) ? {} : { running: false }),
  };
  for (const name of disksOfMachine(machine)) mapping.taken.add(name);
  return { machine, added: [os, ...data].flatMap((one) => (one.isAdded === true ? [one.disk] : [])) };
}

function attachedOf(row: Row, isOs: boolean, vm: AzureId, location: string, mapping: MachineMapping): Attached {
  const managed = objectIn(row, 'manageddisk');
  const name = textOf(row.name) || textOf(managed.id).split('/').at(-1) || (isOs ? 'of the OS' : `at LUN ${row.lun}`);
  const no = (reason: string, isNeeded = isOs): Attached => ({ reason, isNeeded, name });
  const facts = factsOfMachine(row, managed, location);
  if (isObjectWith(row, 'diffdisksettings', 'option')) return standIn(name, vm, facts, mapping);
  if (objectIn(row, 'vhd').uri !== undefined) return no('it is an unmanaged disk');
  const id = azureId(textOf(managed.id));
  if (id === undefined) return no('its row names no managed disk');
  if (id.subscription !== vm.subscription)
    return no(`it is in the subscription ${id.subscription}`, isOs || facts.set !== '');
  const known = mapping.disks.get(id.key) ?? fromMachine(id, facts, mapping);
  if ('reason' in known) return no(known.reason, isOs || known.isUnderKey);
  if (!mapping.taken.has(known.disk.name)) return { disk: known.disk };
  if (known.sharesMax < 2) return no('another machine has it');
  return { disk: copyOf(known.disk, vm, mapping), isAdded: true };
}

/** Facts about a disk from the row of its machine; Azure omits the class while the machine is deallocated. */
const factsOfMachine = (row: Row, managed: Row, location: string): DiskFacts => ({
  sku: textOf(managed.storageaccounttype),
  sizeGib: row.disksizegb === undefined ? undefined : Number(row.disksizegb),
  set: textOf(objectIn(managed, 'diskencryptionset').id),
  location,
  sharesMax: 1,
});

/** A disk without a row of its own. */
function fromMachine(id: AzureId, facts: DiskFacts, mapping: MachineMapping): MappedDisk {
  const unknown =
    facts.sku === '' ? 'it has no row in the disk files, and the row of its machine does not say its SKU' : undefined;
  const mapped: MappedDisk =
    unknown === undefined ? mapDisk(id, facts, {}, mapping) : { reason: unknown, isUnderKey: true };
  const what = `disk ${id.name} (group ${id.group})`;
  if ('disk' in mapped)
    mapping.notes.change(what, 'it has no row in the disk files: mapped as the row of its machine says');
  else mapping.notes.drop(what, mapped.reason);
  mapping.disks.set(id.key, mapped);
  return mapped;
}

/** A substitute for an ephemeral OS disk, which is no resource: the twin boots from a disk under the same set. */
function standIn(name: string, vm: AzureId, facts: DiskFacts, mapping: MachineMapping): Attached {
  const id = { ...vm, key: `${vm.key}/osdisk`, name };
  const sku = facts.sku === '' ? 'StandardSSD_LRS' : facts.sku;
  const mapped = mapDisk(id, { ...facts, sku }, {}, mapping);
  if ('reason' in mapped) return { reason: mapped.reason, isNeeded: true, name };
  mapping.notes.change(
    `machine ${vm.name} (group ${vm.group})`,
    `its OS disk is ephemeral: the twin boots from the disk ${mapped.disk.name}`,
  );
  return { disk: mapped.disk, isAdded: true };
}

/** A shared disk becomes one disk for each machine, so that each machine stops with its key as in Azure. */
function copyOf(disk: PlacedDisk, vm: AzureId, { names, notes }: MachineMapping): PlacedDisk {
  const name = names.nameOf({ ...vm, key: `${vm.key}/${disk.name}`, name: `${disk.name}-${vm.name}` });
  notes.change(`disk ${disk.name}`, `machines share it: ${vm.name} has a disk ${name} of its own`);
  return { ...disk, name };
}

/** Power state from `vm list -d`, an instance view or Resource Graph; a machine without one counts as running. */
function isRunning(row: Row): boolean {
  const view = objectIn(row, 'instanceview');
  const extended = objectIn(objectIn(objectIn(row, 'extended'), 'instanceview'), 'powerstate');
  const codes = objectsIn(view, 'statuses').map(({ code }) => textOf(code));
  const state = [
    textOf(row.powerstate),
    textOf(extended.code),
    ...codes.filter((code) => /^PowerState\//i.test(code)),
  ].find((text) => text !== '');
  return state === undefined || /running|starting/i.test(state);
}

const isObjectWith = (row: Row, field: string, inner: string): boolean => objectIn(row, field)[inner] !== undefined;
