import type { AttachedDisk, VirtualMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { JsonObject } from '@interlock/event-store';
import type { CloudNames } from '../cloud/names.ts';
import { armTypes, innerNameOfId, lastSegment } from '../cloud/resource-names.ts';
import { skuShown } from '../disks/skus.ts';
import type { ResourceExtras } from '../management/resource-records.ts';
import type { DataDiskGiven, MachineGiven, OsDiskGiven } from './machine-schemas.ts';

/** Members of `properties` that management keeps for its clients and no service has. */
const keptMembers = [
  'hardwareProfile',
  'osProfile',
  'networkProfile',
  'securityProfile',
  'diagnosticsProfile',
  'availabilitySet',
  'proximityPlacementGroup',
  'priority',
  'evictionPolicy',
  'licenseType',
  'userData',
  'extensionsTimeBudget',
  'scheduledEventsProfile',
  'applicationProfile',
] as const;

/** Members of `osProfile` that are never returned. */
const secrets = ['adminPassword', 'customData', 'secrets'] as const;

const without = (object: JsonObject, members: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(object).filter(([member]) => !members.includes(member)));

/** A JSON merge patch (RFC 7396); a null is left out before, when the body is read. */
export const mergePatch = (before: JsonObject, patch: JsonObject): JsonObject => {
  const merged: Record<string, JsonObject[string]> = { ...before };
  for (const [member, value] of Object.entries(patch)) {
    const known = merged[member];
    merged[member] = isObject(known) && isObject(value) ? mergePatch(known, value) : value;
  }
  return merged;
};

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Inner name of the disk of an entry, if the entry names it. @param group `subscriptions/<s>/resourceGroups/<g>`, of a disk without an id */
const diskNameOf = (names: CloudNames, given: OsDiskGiven | DataDiskGiven, group: string): string | undefined => {
  const { managedDisk, name } = given;
  if (managedDisk?.id !== undefined)
    return innerNameOfId(names, managedDisk.id, ['disks'], 'properties.storageProfile.managedDisk.id');
  return name === undefined ? undefined : `${group}/disks/${name.toLowerCase()}`;
};

/** Interlock names of the data disks that a body wants; undefined where it wants none in particular, or names not all of them. */
export const wantedDisks = (names: CloudNames, body: MachineGiven, group: string): readonly string[] | undefined => {
  const wanted = body.properties?.storageProfile?.dataDisks?.filter(({ toBeDetached }) => toBeDetached !== true);
  const found = wanted?.map((one) => diskNameOf(names, one, group));
  return found?.every((name) => name !== undefined) ? found : undefined;
};

/**
 * What management keeps of a machine: what was kept before, and over it what the body has.
 * @param body of a PUT (members replace) or a PATCH (members are merged)
 * @param group of the machine, with Interlock names
 */
export const keptContent = (
  names: CloudNames,
  before: JsonObject,
  body: MachineGiven,
  { group, isPatch }: { readonly group: string; readonly isPatch: boolean },
): JsonObject => {
  const given = (body.properties ?? {}) as JsonObject;
  const members = keptMembers.flatMap((member) => {
    const value = given[member];
    if (value === undefined) return [];
    const shown = member === 'osProfile' && isObject(value) ? without(value, secrets) : value;
    return [[member, shown] as const];
  });
  const kept = Object.fromEntries(members);
  const properties = (before.properties ?? {}) as JsonObject;
  const storage = body.properties?.storageProfile;
  const entries = [storage?.osDisk, ...(storage?.dataDisks ?? [])].flatMap((one) => {
    const name = one && diskNameOf(names, one, group);
    return one === undefined || name === undefined ? [] : [[name, keptOfDisk(one)] as const];
  });
  const imageReference = (storage as JsonObject | undefined)?.imageReference;
  return {
    ...before,
    properties: isPatch ? mergePatch(properties, kept) : { ...properties, ...kept },
    disks: { ...(before.disks as JsonObject | undefined), ...Object.fromEntries(entries) },
    ...(imageReference === undefined ? {} : { imageReference }),
    ...(storage?.osDisk?.osType === undefined ? {} : { osType: storage.osDisk.osType }),
    ...(body.zones === undefined ? {} : { zones: body.zones }),
  };
};

const keptOfDisk = ({
  name,
  caching,
  createOption,
  diskSizeGB,
  managedDisk,
}: OsDiskGiven | DataDiskGiven): JsonObject => {
  const { id, storageAccountType, diskEncryptionSet } = managedDisk ?? {};
  const shownName = name ?? (id === undefined ? undefined : lastSegment(id));
  return {
    ...(shownName === undefined ? {} : { name: shownName }),
    ...(caching === undefined ? {} : { caching }),
    ...(createOption === undefined ? {} : { createOption }),
    ...(diskSizeGB === undefined ? {} : { diskSizeGB }),
    ...(id === undefined ? {} : { id }),
    ...(storageAccountType === undefined ? {} : { storageAccountType }),
    ...(diskEncryptionSet?.id === undefined ? {} : { diskEncryptionSet: { id: diskEncryptionSet.id } }),
  };
};

/** ARM id of an Interlock name. */
type IdOf = (name: string) => string;

/** Interlock names of the disks of a machine. */
export const disksOf = ({ osDisk, dataDisks }: VirtualMachine): readonly string[] =>
  [osDisk, ...dataDisks].flatMap((one) => (one === undefined ? [] : [one.disk]));

/** A disk of a machine as clients read it. `name` is always there: detaching finds the disk by it. */
const diskShown = (disk: AttachedDisk, content: JsonObject, idOf: IdOf): JsonObject => {
  const kept = ((content.disks ?? {}) as Readonly<Record<string, JsonObject>>)[disk.disk] ?? {};
  const { id = idOf(disk.disk), storageAccountType, ...rest } = kept;
  const name = kept.name ?? lastSegment(String(id));
  const { diskEncryptionSet, ...shown } = rest;
  return {
    createOption: 'Attach',
    caching: 'None',
    ...shown,
    name,
    deleteOption: disk.deleteWithVm ? 'Delete' : 'Detach',
    managedDisk: {
      id,
      storageAccountType: skuShown(disk.sku, storageAccountType),
      ...(diskEncryptionSet === undefined ? {} : { diskEncryptionSet }),
    },
  };
};

const states: Readonly<Record<string, string>> = {
  CREATING: 'Creating',
  UPDATING: 'Updating',
  FAILED: 'Failed',
  DELETING: 'Deleting',
};

/** `storageProfile` of a machine as clients read it. */
export const storageShown = (vm: VirtualMachine, content: JsonObject, idOf: IdOf): JsonObject => ({
  ...(content.imageReference === undefined ? {} : { imageReference: content.imageReference }),
  ...(vm.osDisk === undefined
    ? {}
    : { osDisk: { osType: content.osType ?? 'Linux', ...diskShown(vm.osDisk, content, idOf) } }),
  dataDisks: vm.dataDisks.map((disk) => ({
    lun: disk.lun,
    ...diskShown(disk, content, idOf),
    toBeDetached: false,
  })),
});

/** Name that the guest of a machine would have. */
export const computerNameOf = ({ id, content }: ResourceExtras): string => {
  const { osProfile } = (content.properties ?? {}) as { readonly osProfile?: JsonObject };
  return String(osProfile?.computerName ?? lastSegment(id));
};

/** Clients that list the interfaces of a machine fail where the list is absent (REST-52). */
const networkShown = ({ properties }: JsonObject): JsonObject => {
  const { networkProfile } = (properties ?? {}) as { readonly networkProfile?: JsonObject };
  return { networkInterfaces: [], ...networkProfile };
};

/** The machine as clients read it. @param instanceView as clients read it; absent unless asked for */
export const machineBody = (
  vm: VirtualMachine,
  extras: ResourceExtras,
  idOf: IdOf,
  instanceView?: unknown,
): unknown => ({
  id: extras.id,
  name: lastSegment(extras.id),
  type: armTypes.virtualMachines,
  location: vm.location,
  tags: extras.tags,
  etag: `"${vm.etag}"`,
  ...(extras.content.zones === undefined ? {} : { zones: extras.content.zones }),
  properties: {
    hardwareProfile: { vmSize: 'Standard_D2s_v5' },
    ...without((extras.content.properties ?? {}) as JsonObject, ['userData', 'networkProfile']),
    networkProfile: networkShown(extras.content),
    storageProfile: storageShown(vm, extras.content, idOf),
    additionalCapabilities: { ultraSSDEnabled: vm.ultraSsdEnabled },
    vmId: vm.uniqueId,
    ...(vm.createTime && { timeCreated: vm.createTime.toISOString() }),
    provisioningState: states[vm.provisioningState] ?? 'Succeeded',
    ...(instanceView === undefined ? {} : { instanceView }),
  },
});
