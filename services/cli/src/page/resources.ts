import type { JsonObject } from '@bufbuild/protobuf';
import { hostRows, readDiskHosts } from '../report/disk-hosts.ts';
import { attachedDisks, groupOf } from '../report/gather.ts';
import type { Caller } from '../request/calls.ts';
import { readList } from '../request/pages.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { leaseRow, machineRow, reasonOf, setRow } from '../watch/reading.ts';
import type { LiveRows } from './live-rows.ts';
import type { PageLoss, PageMachine } from './rows.ts';

/** Resources of a group or subscription as their services return them. Undefined: could not be read. */
export interface Resources {
  readonly sets: readonly JsonObject[] | undefined;
  readonly leases: readonly JsonObject[] | undefined;
  readonly disks: readonly JsonObject[] | undefined;
  readonly machines: readonly JsonObject[] | undefined;
  /** Empty if the caller may not list them. */
  readonly hosts: readonly JsonObject[] | undefined;
}

/** Reads a list, or notes why it cannot be read. */
export type OrNothing = <Value>(what: string, read: () => Promise<Value>) => Promise<Value | undefined>;

/** Reads the resources that are few: sets, leases and disk hosts. @param parent full name of a group or subscription */
export async function readFew(
  caller: Pick<Caller, 'call'>,
  parent: string,
  orNothing: OrNothing,
): Promise<Pick<Resources, 'sets' | 'leases' | 'hosts'>> {
  const listSets = methodOf(Service.diskEncryptionSet, 'ListDiskEncryptionSets');
  const [sets, leases, hosts] = await Promise.all([
    orNothing('disk encryption sets', () => readList(caller, 'disk-encryption-set', listSets, { parent })),
    orNothing('leases', () => readList(caller, 'disk', methodOf(Service.disk, 'ListLeases'))),
    orNothing('disk hosts', () => readDiskHosts(caller)),
  ]);
  const own = leases?.filter(({ diskEncryptionSet }) => String(diskEncryptionSet).startsWith(`${parent}/`));
  return { sets, leases: own, hosts };
}

/** Reads the resources that can be many: disks and machines. @param parent full name of a group or subscription */
export async function readMany(
  caller: Pick<Caller, 'call'>,
  parent: string,
  orNothing: OrNothing,
): Promise<Pick<Resources, 'disks' | 'machines'>> {
  const listMachines = methodOf(Service.compute, 'ListVirtualMachines');
  const [disks, machines] = await Promise.all([
    orNothing('disks', () => readList(caller, 'disk', methodOf(Service.disk, 'ListDisks'), { parent })),
    orNothing('machines', () => readList(caller, 'compute', listMachines, { parent, view: 'FULL' })),
  ]);
  return { disks, machines };
}

/** Sets the rows of sets, leases and disk hosts, and deletes those that no longer exist. */
export function putFew(rows: LiveRows, { sets = [], leases = [], disks = [], hosts = [] }: Partial<Resources>): void {
  for (const set of sets.map(setRow)) rows.set(`set ${set.name}`, set);
  rows.retain('set ', new Set(sets.map(({ name }) => `set ${name}`)));
  const ofLeases = leases.map((lease) => {
    const { expiresInMs: _, ...row } = leaseRow(lease);
    return { ...row, host: String(lease.diskHost ?? '') };
  });
  const leaseName = ({ host, set, key }: (typeof ofLeases)[number]) => `lease ${host} ${set} ${key}` as const;
  for (const lease of ofLeases) rows.set(leaseName(lease), lease);
  rows.retain('lease ', new Set(ofLeases.map(leaseName)));
  const ofHosts = hostRows(hosts, disks);
  for (const host of ofHosts) rows.set(`host ${host.name}`, host);
  rows.retain('host ', new Set(ofHosts.map(({ name }) => `host ${name}`)));
}

/** Sets the rows of machines, and deletes those that no longer exist. @returns the machines */
export function putMachines(
  rows: LiveRows,
  { disks = [], machines = [] }: Partial<Resources>,
  short: (name: string) => string,
): readonly PageMachine[] {
  const disksByName = new Map(disks.map((disk) => [String(disk.name), disk]));
  const ofMachines = machines.map((machine) => pageMachine(machine, disksByName, short));
  for (const machine of ofMachines) rows.set(`machine ${machine.name}`, machine);
  rows.retain('machine ', new Set(ofMachines.map(({ name }) => `machine ${name}`)));
  return ofMachines;
}

function pageMachine(
  machine: JsonObject,
  disks: ReadonlyMap<string, JsonObject>,
  short: (name: string) => string,
): PageMachine {
  const { operations: _, ...row } = machineRow(machine);
  const attached = attachedDisks(machine, disks, short);
  return {
    ...row,
    group: groupOf(attached, short),
    loss: lossOf(machine),
    disks: attached.map((disk) => {
      const { availability, diskHost } = disks.get(disk.name) ?? {};
      return { ...disk, availability: String(availability ?? ''), host: String(diskHost ?? '') };
    }),
  };
}

const lossOf = ({ stopReason }: JsonObject): PageLoss | undefined => {
  if (!isObject(stopReason)) return undefined;
  const { reason, disk, diskEncryptionSet, keyVersion, since, traceId } = stopReason;
  const [name, set, version] = [disk, diskEncryptionSet, keyVersion].map((text) => String(text ?? ''));
  return {
    reason: reasonOf(reason),
    ...{ disk: name ?? '', set: set ?? '', keyVersion: version ?? '' },
    since: String(since ?? ''),
    traceId: String(traceId ?? ''),
  };
};
