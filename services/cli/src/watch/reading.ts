import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';
import { elementsIn, PAGE_SIZE_MAX } from '../request/pages.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import { serverReport, unreadState } from '../session/servers.ts';
import { objectsIn } from '../verbs/before.ts';

/** How long a call may take, in milliseconds: a paused service must not delay the others. */
const CALL_MS = 2_000;

/** A set, and whether it may use its key. */
export interface SetRow {
  readonly name: string;
  readonly key: string;
  readonly access: string;
  readonly reason: string;
  /** ISO 8601; empty if unknown. */
  readonly since: string;
}

/** How long a disk host may use the data keys of a set. */
export interface LeaseRow {
  readonly set: string;
  readonly key: string;
  readonly state: string;
  readonly reason: string;
  readonly expiresInMs: number;
  readonly openCount: number;
}

/** A machine, and what its guest counted since it was made. */
export interface MachineRow {
  readonly name: string;
  readonly power: string;
  /** Short name of its VM host, `vm-host-0`; empty if compute runs it. */
  readonly vmHost: string;
  /** Why it is off, or why its next start fails; empty otherwise. */
  readonly reason: string;
  /** ISO 8601: since when it runs or is off; empty while that changes. */
  readonly since: string;
  readonly operations: number;
  readonly failures: number;
  readonly mismatches: number;
}

/** One reading of the cloud. What could not be read is undefined. */
export interface Reading {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Of each service: empty if it responds and publishes, otherwise what is wrong. */
  readonly problems: Readonly<Record<Workload, string>>;
  readonly sets: readonly SetRow[] | undefined;
  readonly leases: readonly LeaseRow[] | undefined;
  readonly machines: readonly MachineRow[] | undefined;
  /** Whether there are more sets or machines than one page has. */
  readonly isCut: boolean;
}

/** Reads a group or subscription once. A failure of a service does not make it fail. @param parent full name */
export async function readCloud(caller: Pick<Caller, 'call'>, parent: string, atMs: number): Promise<Reading> {
  const list = (
    service: Workload,
    contract: (typeof Service)[keyof typeof Service],
    name: string,
    request: JsonObject,
  ) =>
    orNothing(async () => {
      const method = methodOf(contract, name);
      const response = await caller.call(
        service,
        method,
        { ...request, pageSize: PAGE_SIZE_MAX },
        { deadlineMs: CALL_MS },
      );
      return { rows: elementsIn(method, response), isCut: String(response.nextPageToken ?? '') !== '' };
    });
  const [problems, sets, leases, machines] = await Promise.all([
    readProblems(caller),
    list('disk-encryption-set', Service.diskEncryptionSet, 'ListDiskEncryptionSets', { parent }),
    list('disk', Service.disk, 'ListLeases', {}),
    list('compute', Service.compute, 'ListVirtualMachines', { parent, view: 'FULL' }),
  ]);
  return {
    atMs,
    problems,
    sets: sets?.rows.map(setRow),
    leases: leases?.rows
      .filter(({ diskEncryptionSet }) => String(diskEncryptionSet).startsWith(`${parent}/`))
      .map(leaseRow),
    machines: machines?.rows.map(machineRow),
    isCut: sets?.isCut === true || machines?.isCut === true,
  };
}

/** What a call returns; undefined if the service does not respond or refuses. */
async function orNothing<Value>(read: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

/** What is wrong with each service; empty if nothing is. */
export async function readProblems(caller: Pick<Caller, 'call'>): Promise<Reading['problems']> {
  const of = new Map(
    await Promise.all(services.map(async (service) => [service, await problemOf(service, caller)] as const)),
  );
  return {
    identity: of.get('identity') ?? '',
    'key-vault': of.get('key-vault') ?? '',
    'disk-encryption-set': of.get('disk-encryption-set') ?? '',
    disk: of.get('disk') ?? '',
    compute: of.get('compute') ?? '',
  };
}

/** What is wrong with a service; empty if nothing is. */
async function problemOf(service: Workload, { call }: Pick<Caller, 'call'>): Promise<string> {
  try {
    const relay = await call(service, methodOf(Service.messaging, 'GetRelay'), {}, { deadlineMs: CALL_MS });
    const { lacks } = serverReport(service, relay);
    return lacks.length === 0 ? '' : `cannot reach ${lacks.join(', ')}`;
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    // It responds, and the caller may not read this.
    if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return '';
    const { state } = unreadState(service, error);
    return state === 'unreachable' ? 'not responding' : state;
  }
}

/** A set as a service returns it. */
export const setRow = ({ name, activeKey, keyAccess }: JsonObject): SetRow => {
  const key = isObject(activeKey) ? String(activeKey.keyVersion ?? '') : '';
  const all = objectsIn(keyAccess);
  const access = all.find(({ state }) => state === 'LOST') ?? all.find(({ keyVersion }) => keyVersion === key) ?? {};
  return {
    name: String(name),
    key: String(access.keyVersion ?? key),
    access: String(access.state ?? ''),
    reason: reasonOf(access.reason),
    since: String(access.since ?? ''),
  };
};

/** A lease as a service returns it. */
export const leaseRow = ({
  diskEncryptionSet,
  keyVersion,
  state,
  reason,
  expiresInMs,
  openCount,
}: JsonObject): LeaseRow => ({
  set: String(diskEncryptionSet),
  key: String(keyVersion),
  state: String(state),
  reason: reasonOf(reason),
  expiresInMs: Number(expiresInMs ?? 0),
  openCount: Number(openCount ?? 0),
});

/** A machine as a service returns it. */
export const machineRow = (machine: JsonObject): MachineRow => {
  const { name, powerState, stopReason, stopCause, stopTime, startTime, guestIo, nextStartLosses, keyReturned } =
    machine;
  const [next] = objectsIn(nextStartLosses);
  const io = isObject(guestIo) ? guestIo : {};
  const cause = isObject(stopReason) ? `${reasonOf(stopReason.reason)}${atHost(stopReason)}` : reasonOf(stopCause);
  const power = String(powerState);
  const vmHost = String(machine.vmHost ?? '').replace('vmHosts/', '');
  // A machine that starts or stops has the times of its previous start and stop.
  const since = power === 'RUNNING' ? startTime : power === 'STOPPED' || power === 'DEALLOCATED' ? stopTime : undefined;
  return {
    name: String(name),
    power,
    vmHost,
    reason:
      next !== undefined && cause === ''
        ? `next start: ${reasonOf(next.reason)}${atHost(next)}`
        : `${cause}${keyReturned === true ? ', access is back' : ''}`,
    since: String(since ?? ''),
    operations: Number(io.readCount ?? 0) + Number(io.writeCount ?? 0),
    failures: Number(io.failureCount ?? 0),
    mismatches: Number(io.contentMismatchCount ?? 0),
  };
};

/** ` at disk-0`: the disk host of a loss; empty if it is not known. */
const atHost = ({ diskHost }: JsonObject): string =>
  typeof diskHost !== 'string' || diskHost === '' ? '' : ` at ${diskHost.replace('diskHosts/', '')}`;

/** A reason; empty for the unspecified value. */
export const reasonOf = (reason: unknown): string => {
  const text = String(reason ?? '');
  return text.endsWith('_UNSPECIFIED') ? '' : text;
};
