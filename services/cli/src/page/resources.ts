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

/** Reads every set, lease, disk and machine. @param parent full name of a group or subscription */
export async function readResources(
  caller: Pick<Caller, 'call'>,
  parent: string,
  orNothing: OrNothing,
): Promise<Resources> {
  const [sets, leases, disks, machines, hosts] = await Promise.all([
    orNothing('disk encryption sets', () =>
      readList(caller, 'disk-encryption-set', methodOf(Service.diskEncryptionSet, 'ListDiskEncryptionSets'), {
        parent,
      }),
    ),
    orNothing('leases', () => readList(caller, 'disk', methodOf(Service.disk, 'ListLeases'))),
    orNothing('disks', () => readList(caller, 'disk', methodOf(Service.disk, 'ListDisks'), { parent })),
    orNothing('machines', () =>
      readList(caller, 'compute', methodOf(Service.compute, 'ListVirtualMachines'), { parent, view: 'FULL' }),
    ),
    orNothing('disk hosts', () => readDiskHosts(caller)),
  ]);
  const own = leases?.filter(({ diskEncryptionSet }) => String(diskEncryptionSet).startsWith(`${parent}/`));
  return { sets, leases: own, disks, machines, hosts };
}

/** What was read before, where the newest reading lacks a part. */
export const newestResources = (before: Resources | undefined, now: Resources): Resources => ({
  sets: now.sets ?? before?.sets,
  leases: now.leases ?? before?.leases,
  disks: now.disks ?? before?.disks,
  machines: now.machines ?? before?.machines,
  hosts: now.hosts ?? before?.hosts,
});

/** Sets the rows of sets, leases, disk hosts and machines, and deletes those that no longer exist. @returns the machines */
export function putResources(
  rows: LiveRows,
  found: Resources,
  short: (name: string) => string,
): readonly PageMachine[] {
  const { sets = [], leases = [], disks = [], machines = [], hosts = [] } = found;
  const disksByName = new Map(disks.map((disk) => [String(disk.name), disk]));
  const put = <Kind extends 'set' | 'lease' | 'host' | 'machine', Row>(
    kind: Kind,
    of: readonly Row[],
    name: (row: Row) => string,
    set: (name: string, row: Row) => void,
  ): void => {
    for (const row of of) set(name(row), row);
    rows.retain(`${kind} `, new Set(of.map((row) => `${kind} ${name(row)}`)));
  };
  put(
    'set',
    sets.map(setRow),
    ({ name }) => name,
    (name, row) => rows.set(`set ${name}`, row),
  );
  const ofLeases = leases.map((lease) => {
    const { expiresInMs: _, ...row } = leaseRow(lease);
    return { ...row, host: String(lease.diskHost ?? '') };
  });
  put(
    'lease',
    ofLeases,
    ({ host, set, key }) => `${host} ${set} ${key}`,
    (name, row) => rows.set(`lease ${name}`, row),
  );
  put(
    'host',
    hostRows(hosts, disks),
    ({ name }) => name,
    (name, row) => rows.set(`host ${name}`, row),
  );
  const ofMachines = machines.map((machine) => pageMachine(machine, disksByName, short));
  put(
    'machine',
    ofMachines,
    ({ name }) => name,
    (name, row) => rows.set(`machine ${name}`, row),
  );
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
