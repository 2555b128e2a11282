import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { DiskRecord } from '@interlock/lab';
import type { ActiveMachine, Activity } from '@interlock/lab/report/activity/activity';
import { RpcFailure } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';
import { limiterOf } from '../request/limiter.ts';
import { readList } from '../request/pages.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { objectsIn } from '../verbs/before.ts';
import { hostRows, readDiskHosts } from './disk-hosts.ts';
import { readJournal } from './journals.ts';
import { changesIn, refusalsIn } from './key-changes.ts';
import { powerOf } from './power.ts';

/** Resources that are read at once. */
const PARALLEL_MAX = 16;

/** What is gathered. */
export interface GatherOptions {
  /** Full name of the resource group. */
  readonly group: string;
  /** Milliseconds since the epoch. */
  readonly fromMs: number;
  readonly toMs: number;
  /** A name as users type it. */
  readonly short: (name: string) => string;
}

/**
 * What happened to the machines of a group, from compute, disk, disk-encryption-set, the audit logs of the vaults, and the journals of guests. What the caller may not
 * read is listed in `unread`.
 * @throws Rejection, RpcFailure if the machines cannot be read
 */
export async function gatherActivity(caller: Caller, options: GatherOptions): Promise<Activity> {
  const { group, fromMs, toMs, short } = options;
  const unread: string[] = [];
  const orNothing = <Value>(what: string, read: Promise<Value>, nothing: Value): Promise<Value> =>
    read.catch((error: unknown) => {
      if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
      unread.push(`${what}: ${error.message}`);
      return nothing;
    });
  const list = (
    service: 'compute' | 'disk' | 'disk-encryption-set' | 'key-vault',
    contract: Contract,
    method: string,
    request: JsonObject,
  ) => readList(caller, service, methodOf(contract, method), request);
  const shown = await list('compute', Service.compute, 'ListVirtualMachines', { parent: group, view: 'FULL' });
  const disks = await orNothing('disks', list('disk', Service.disk, 'ListDisks', { parent: group }), []);
  const hosts = await orNothing('disk hosts', readDiskHosts(caller), []);
  const byName = new Map(disks.map((disk) => [String(disk.name), disk]));
  const limited = limiterOf(PARALLEL_MAX);
  const machines = await Promise.all(
    shown.map((machine) =>
      limited(async () => {
        const log = list('compute', Service.compute, 'ListActivityLog', { name: String(machine.name) });
        const entries = await orNothing(`the activity log of ${short(String(machine.name))}`, log, []);
        return machineOf(machine, byName, entries, short);
      }),
    ),
  );
  const keys = [...new Set(disks.map(({ keyVersion }) => keyOf(String(keyVersion ?? ''))))].filter((key) => key !== '');
  const vaults = [...new Set(keys.map((key) => key.split('/').slice(0, 2).join('/')))];
  const startTime = new Date(fromMs).toISOString();
  const audits = await Promise.all(
    vaults.map((parent) => {
      const audit = list('key-vault', Service.keyVault, 'ListAuditEntries', { parent, startTime });
      return orNothing(`the audit log of ${short(parent)}`, audit, []);
    }),
  );
  const names = machines.map(({ name }) => name);
  const io = await Promise.all(
    names.map((name) =>
      limited(() => orNothing(`the journal of ${short(name)}`, readJournal(caller, name, fromMs), [])),
    ),
  );
  const callers = audits.flat().flatMap(({ caller: by, onBehalfOf }) => [String(by), String(onBehalfOf)]);
  const spoken = await spokenNames(caller, new Set(callers));
  const called = (name: string): string => spoken.get(name) ?? short(name);
  return {
    group: group.slice(group.lastIndexOf('/') + 1),
    ...{ fromMs, toMs, machines, unread, hosts: hostRows(hosts, disks) },
    changes: changesIn(audits.flat(), keys, called),
    refusals: refusalsIn(audits.flat(), keys, called),
    io: io.flat().toSorted((a, b) => a.completedMs - b.completedMs),
  };
}

/** Display names of principals (`principals/<id>`; others are left out), with the beginning of their ids; the ids alone of those that the caller may not read. */
export async function spokenNames(
  caller: Pick<Caller, 'call'>,
  principals: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const limited = limiterOf(PARALLEL_MAX);
  const nameOf = async (name: string): Promise<readonly [string, string]> => {
    const id = `${name.slice('principals/'.length).slice(0, 8)}…`;
    const shown = await caller.call('identity', methodOf(Service.identity, 'GetPrincipal'), { name }).then(
      ({ displayName }) => String(displayName ?? ''),
      () => '',
    );
    return [name, shown === '' ? id : `${shown} (${id})`];
  };
  const known = [...principals].filter((name) => name.startsWith('principals/'));
  return new Map(await Promise.all(known.map((name) => limited(() => nameOf(name)))));
}

/** Causes of a stop that are neither the machine's user nor a key. */
const otherCauses: readonly unknown[] = ['GUEST_ENDED', 'HOST_RESTARTED', 'HOST_LOST', 'HOST_DRAINED'];

/** `RUNNING at vm-host-0`, with the VM host where it is, or was last; `STOPPED (HOST_LOST)` if neither its user nor a key is the cause. */
export const stateText = ({ powerState, stopCause, vmHost = '' }: JsonObject): string => {
  const host = vmHost === '' ? '' : ` at ${String(vmHost).replace('vmHosts/', '')}`;
  return `${String(powerState)}${host}${otherCauses.includes(stopCause) ? ` (${stopCause})` : ''}`;
};

type Contract = (typeof Service)[keyof typeof Service];

/** A disk of a machine, with its set: a full name, empty under a key of the platform. */
export interface AttachedDisk extends DiskRecord {
  readonly set: string;
}

/** The disks of a machine as compute returns it. @param disks by full name, as the disk service returns them */
export function attachedDisks(
  machine: JsonObject,
  disks: ReadonlyMap<string, JsonObject>,
  short: (name: string) => string,
): readonly AttachedDisk[] {
  return [machine.osDisk, ...objectsIn(machine.dataDisks)].filter(isObject).map(({ disk, sku }) => {
    const { keyVersion = '', encryption } = disks.get(String(disk)) ?? {};
    const set = isObject(encryption) ? String(encryption.diskEncryptionSet ?? '') : '';
    const key = keyVersion === '' ? 'platform' : short(keyOf(String(keyVersion)));
    return { name: String(disk), class: String(sku), key, keyVersion: String(keyVersion), set };
  });
}

/** The sets of a machine, which name its group. */
export function groupOf(disks: readonly AttachedDisk[], short: (name: string) => string): string {
  const sets = [...new Set(disks.map(({ set }) => set))].filter((set) => set !== '');
  return sets.length === 0 ? 'platform key' : sets.map(short).join(', ');
}

/** `vaults/v/keys/k` of a version. */
export const keyOf = (keyVersion: string): string => keyVersion.split('/').slice(0, 4).join('/');

function machineOf(
  machine: JsonObject,
  disks: ReadonlyMap<string, JsonObject>,
  log: readonly JsonObject[],
  short: (name: string) => string,
): ActiveMachine {
  const attached = attachedDisks(machine, disks, short);
  const { guestIo } = machine;
  return {
    name: String(machine.name),
    group: groupOf(attached, short),
    disks: attached,
    power: powerOf(log, machine.powerState === 'STOPPING'),
    starts: [],
    powerState: stateText(machine),
    ...(isObject(guestIo)
      ? {
          counted: {
            reads: Number(guestIo.readCount ?? 0),
            writes: Number(guestIo.writeCount ?? 0),
            failures: Number(guestIo.failureCount ?? 0),
            mismatches: Number(guestIo.contentMismatchCount ?? 0),
          },
        }
      : {}),
  };
}
