import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { PartProcess } from '@interlock/local/control/cloud-control.ts';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { aligned } from '../output/align.ts';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import {
  type ServerReport,
  type ServerStatus,
  serverReport,
  serverStatuses,
  serverText,
  type UnreadState,
  unreadState,
} from '../session/servers.ts';
import type { Session } from '../session/session.ts';
import { objectsIn } from '../verbs/before.ts';
import type { GatewayStatus } from './gateway-status.ts';
import { counted } from './settle.ts';

/** State of one service. */
export interface ServiceStatus extends ServerReport {
  readonly service: Workload;
  /** `degraded`: a process is missing. `silent`: it cannot publish its facts. `on hold`: no key may be used. */
  readonly state: 'serving' | 'degraded' | 'silent' | 'on hold' | UnreadState['state'];
  /** Duration of the calls, in milliseconds. */
  readonly answerMs: number;
  /** Facts of other services that it has not consumed, and the age of the oldest. */
  readonly gap: number;
  readonly lagMs: number;
  readonly parked: number;
  /** Own events that it has not published. */
  readonly unpublished: number;
  readonly replicas: readonly ReplicaStatus[];
  /** Of disk: its hosts, if there are several. Of compute: the VM hosts, if there are any. */
  readonly hosts?: readonly HostStatus[];
  /** Why it is not `serving`; empty when it is. */
  readonly problem: string;
}

/** State of one process of a service. */
interface ReplicaStatus {
  readonly name: string;
  readonly state: 'working' | 'gone' | 'not ready';
  /** Since when it is gone; empty otherwise. */
  readonly since: string;
}

/** State of one disk host or VM host. */
interface HostStatus {
  /** As `interlock disk-host list` and `interlock vm-host list` show it: `disk-0`. */
  readonly name: string;
  readonly state: 'serving' | 'unreachable' | 'lost';
  /** Of a disk host. */
  readonly disks?: number;
  /** Of a VM host: those that are on there. */
  readonly machines?: number;
}

type StatusSession = Pick<Session, 'clock'> & {
  readonly caller: Pick<Caller, 'call'>;
  /** The deadline of its calls, in milliseconds, if it is not the default. */
  readonly timeoutMs?: number | undefined;
};

/** States of all services, and of the servers they need. */
export interface CloudStatus {
  readonly services: readonly ServiceStatus[];
  readonly servers: readonly ServerStatus[];
}

/** What only a local cloud has. */
export interface LocalParts {
  readonly processes?: readonly PartProcess[];
  readonly gateway?: GatewayStatus | undefined;
}

/** Reads the state of the cloud. @throws Rejection PERMISSION_DENIED when the caller may read no service */
export async function readStatus(session: StatusSession): Promise<CloudStatus> {
  const read = await Promise.all(services.map((service) => statusOf(service, session)));
  const refusals = read.flatMap(({ refusal }) => refusal ?? []);
  const [refusal] = refusals;
  if (refusal !== undefined && refusals.length === services.length) throw refusal;
  const found = read.map(({ status }) => status);
  return { services: found, servers: serverStatuses(found) };
}

/**
 * Shows the state of the cloud.
 * @param local of a local cloud: its processes with their ids, a part of the document, and its gateway
 * @returns whether every service, server and gateway serves, with every process
 */
export async function showStatus(
  session: StatusSession & Pick<Session, 'terminal' | 'output'>,
  { processes = [], gateway }: LocalParts = {},
): Promise<boolean> {
  const { services: found, servers } = await readStatus(session);
  const { terminal, output } = session;
  if (output.isDocument)
    output.write({
      services: found.map(jsonOf),
      servers: servers.map(jsonOf),
      ...(gateway === undefined ? {} : { gateway: { ...gateway } }),
      ...(processes.length === 0 ? {} : { processes: processes.map(jsonOf) }),
    });
  else {
    const titles = ['SERVICE', 'STATE', 'ANSWER', 'GAP', 'LAG', 'PARKED', 'PROCESSES'];
    const serverRows = servers.map((status) => [status.server, status.state, serverText(status)]);
    const gatewayRows =
      gateway === undefined ? [] : [['gateway', gateway.state, gateway.problem || `${gateway.answerMs} ms`]];
    terminal.out(
      aligned([titles, ...found.flatMap((status) => serviceRows(status, processes)), ...gatewayRows, ...serverRows]),
    );
  }
  return [...found, ...servers, ...(gateway === undefined ? [] : [gateway])].every(({ state }) => state === 'serving');
}

/** @param known the processes of a local cloud */
function serviceRows(status: ServiceStatus, known: readonly PartProcess[]): readonly (readonly string[])[] {
  const { service, state, answerMs, gap, lagMs, parked, replicas, hosts = [], problem } = status;
  const row =
    state === 'serving' || state === 'degraded'
      ? [service, state, `${answerMs} ms`, String(gap), `${lagMs} ms`, String(parked), processes(replicas)]
      : [service, state, problem];
  const shown = replicas.length < 2 ? [] : replicas.map((one) => [`  ${one.name}`, replicaText(one)]);
  return [row, ...shown, ...hosts.map((host) => [`  ${host.name}`, hostText(host, known)])];
}

/** `serving, 1 disk, process 4711` */
function hostText({ name, state, disks, machines }: HostStatus, known: readonly PartProcess[]): string {
  const process = known.find(({ part }) => part === name.replace(/^disk-/, 'disk-host-'));
  const where = process === undefined || process.state === 'down' ? [] : [`process ${process.pid}`];
  const has = disks === undefined ? counted(machines, 'machine') : counted(disks, 'disk');
  return [state, has, ...where].join(', ');
}

async function statusOf(
  service: Workload,
  { caller, clock, timeoutMs }: StatusSession,
): Promise<{ readonly status: ServiceStatus; readonly refusal?: Rejection }> {
  const startedMs = clock.monotonicMs();
  const empty = { service, gap: 0, lagMs: 0, parked: 0, unpublished: 0, replicas: [] };
  try {
    const status = { ...empty, ...(await reportedStatus(service, caller)) };
    return { status: { ...status, answerMs: Math.round(clock.monotonicMs() - startedMs) } };
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    const answerMs = Math.round(clock.monotonicMs() - startedMs);
    const unread = unreadState(service, error);
    const isLate = error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED' && timeoutMs !== undefined;
    const problem = isLate ? `${unread.problem}, within ${timeoutMs} ms` : unread.problem;
    const status = { ...empty, ...unread, problem, ...serverReport(service, error), answerMs };
    return error instanceof Rejection && error.code === 'PERMISSION_DENIED' ? { status, refusal: error } : { status };
  }
}

/** What a service reports itself. */
async function reportedStatus(
  service: Workload,
  caller: Pick<Caller, 'call'>,
): Promise<Omit<ServiceStatus, 'answerMs'>> {
  const read = (method: string) => caller.call(service, methodOf(Service.messaging, method), {});
  // All at once: the slowest of them decides how long it takes.
  const [[{ consumers } = {}, relay = {}, listed = {}], hold, hosts] = await Promise.all([
    Promise.all(['ListConsumers', 'GetRelay', 'ListReplicas'].map(read)),
    service === 'key-vault' ? holdOf(caller) : '',
    hostsOf(service, caller),
  ]);
  const rows = objectsIn(consumers);
  const replicas = objectsIn(listed.replicas).map(replicaOf);
  const silent =
    relay.failingSince === undefined ? '' : `has published nothing since ${relay.failingSince}: ${relay.problem}`;
  const away = hosts.filter(({ state }) => state === 'unreachable').map(({ name }) => `${name} does not respond`);
  const missing = [...replicas.flatMap(missingText), ...away].join('; ');
  const numbers = (field: string): number[] => rows.map((row) => Number(row[field] ?? 0));
  return {
    service,
    state: hold !== '' ? 'on hold' : silent !== '' ? 'silent' : missing !== '' ? 'degraded' : 'serving',
    gap: sum(numbers('gap')),
    lagMs: Math.max(0, ...numbers('lagMs')),
    parked: sum(numbers('parkedCount')),
    unpublished: Number(relay.gap ?? 0),
    replicas,
    ...(hosts.length > (service === 'disk' ? 1 : 0) ? { hosts } : {}),
    problem: hold || silent || missing,
    ...serverReport(service, relay),
  };
}

/** Why no key may be used; empty without a hold. */
async function holdOf({ call }: Pick<Caller, 'call'>): Promise<string> {
  const { hold } = await call('key-vault', methodOf(Service.keyVault, 'GetHold'), {});
  return isObject(hold)
    ? `no key may be used since ${hold.startTime}: ${hold.reason}, hold ${hold.holdId} (interlock hold show)`
    : '';
}

/** The hosts of a service; none if the caller may not list them, or the service is of a release without them. */
async function hostsOf(service: Workload, { call }: Pick<Caller, 'call'>): Promise<readonly HostStatus[]> {
  try {
    if (service === 'disk') {
      const { diskHosts } = await call('disk', methodOf(Service.disk, 'ListDiskHosts'), {});
      return objectsIn(diskHosts).map((host) => ({ ...hostOf(host), disks: Number(host.diskCount ?? 0) }));
    }
    if (service !== 'compute') return [];
    const { vmHosts } = await call('compute', methodOf(Service.compute, 'ListVmHosts'), {});
    return objectsIn(vmHosts).map((host) => ({ ...hostOf(host), machines: Number(host.machineCount ?? 0) }));
  } catch (error) {
    const isWithout = error instanceof Rejection && ['PERMISSION_DENIED', 'UNIMPLEMENTED'].includes(error.code);
    if (isWithout) return [];
    throw error;
  }
}

const hostOf = ({ name, state, liveness }: JsonObject): Pick<HostStatus, 'name' | 'state'> => ({
  name: String(name).replace(/^\w+\//, ''),
  state: state === 'LOST' ? 'lost' : liveness === 'UNREACHABLE' ? 'unreachable' : 'serving',
});

const jsonOf = (status: ServiceStatus | ServerStatus | PartProcess): JsonObject => JSON.parse(JSON.stringify(status));

const replicaStates: Readonly<Record<string, ReplicaStatus['state']>> = {
  GONE: 'gone',
  OTHER_HOST_FOLDER: 'not ready',
};

const replicaOf = ({ name, state, goneTime }: JsonObject): ReplicaStatus => ({
  name: String(name).replace('replicas/', ''),
  state: replicaStates[String(state)] ?? 'working',
  since: goneTime === undefined ? '' : String(goneTime),
});

const replicaText = ({ state, since }: ReplicaStatus): string => {
  if (state === 'gone') return `gone since ${since}`;
  return state === 'not ready' ? 'not ready: OTHER_HOST_FOLDER, its folder is not that of the host' : state;
};

const missingText = (replica: ReplicaStatus): readonly string[] =>
  replica.state === 'gone' || replica.state === 'not ready' ? [`${replica.name} is ${replicaText(replica)}`] : [];

/** `2`; `1 of 2`: one of the two is gone or not ready. */
function processes(replicas: readonly ReplicaStatus[]): string {
  const count = (wanted: ReplicaStatus['state']): number => replicas.filter(({ state }) => state === wanted).length;
  const running = replicas.length - count('gone') - count('not ready');
  return running === replicas.length ? `${running}` : `${running} of ${replicas.length}`;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);
