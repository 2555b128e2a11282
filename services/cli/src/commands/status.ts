import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import { currentHold } from '../session/hold.ts';
import {
  type ServerStatus,
  type ServerWord,
  type Silence,
  serverStatuses,
  serverText,
  serverWord,
  silence,
} from '../session/servers.ts';
import type { Session } from '../session/session.ts';

/** How one service does. */
interface ServiceStatus extends ServerWord {
  readonly service: Workload;
  /**
   * `degraded`: it serves, with a process less than it had. `silent`: it serves, and cannot tell the others what happens in
   * it. `on hold`: it lets nobody use a key.
   */
  readonly state: 'serving' | 'degraded' | 'silent' | 'on hold' | Silence['state'];
  /** Round trip of the question, in milliseconds. */
  readonly answerMs: number;
  /** Facts of other services it has not applied yet, and how long the oldest has waited. */
  readonly gap: number;
  readonly lagMs: number;
  readonly parked: number;
  /** Events of its own it has not told yet. */
  readonly untold: number;
  /** Its processes, by name: those that work, stand by, or are gone. */
  readonly replicas: readonly ReplicaStatus[];
  /** Why it is in no other state than `serving`; empty there. */
  readonly problem: string;
}

/** How one process of a service does, as its signs of life in the store of the service tell. */
export interface ReplicaStatus {
  readonly name: string;
  readonly state: 'working' | 'standby' | 'gone' | 'not ready';
  /** Since when it is gone; empty where it is not. */
  readonly since: string;
}

/** What the question works with. */
type StatusSession = Pick<Session, 'clock' | 'terminal' | 'output'> & { readonly caller: Pick<Caller, 'call'> };

/**
 * Asks every service how it does and shows it. @returns whether all serve and tell, with every process they had
 * @throws Rejection PERMISSION_DENIED where the caller may ask none of them: there is nothing to show then
 */
export async function showStatus(session: StatusSession): Promise<boolean> {
  const asked = await Promise.all(services.map((service) => statusOf(service, session)));
  const refusals = asked.flatMap(({ refusal }) => refusal ?? []);
  const [refusal] = refusals;
  if (refusal !== undefined && refusals.length === services.length) throw refusal;
  const found = asked.map(({ status }) => status);
  const servers = serverStatuses(found);
  const { terminal, output } = session;
  if (output.isDocument) output.write({ services: found.map(jsonOf), servers: servers.map(serverJsonOf) });
  else {
    terminal.out('SERVICE              STATE        ANSWER   GAP  LAG      PARKED  PROCESSES');
    for (const { service, state, answerMs, gap, lagMs, parked, replicas, problem } of found) {
      const lag = `${lagMs} ms`.padEnd(8);
      const numbers = `${`${answerMs} ms`.padEnd(8)} ${String(gap).padEnd(4)} ${lag} ${String(parked).padEnd(7)}`;
      const isAnswering = state === 'serving' || state === 'degraded';
      const rest = isAnswering ? `${numbers} ${processes(replicas)}` : problem;
      terminal.out(`${service.padEnd(20)} ${state.padEnd(12)} ${rest}`);
      if (replicas.length > 1) for (const replica of replicas) terminal.out(replicaLine(replica));
    }
    for (const server of servers) {
      terminal.out(`${server.server.padEnd(20)} ${server.state.padEnd(12)} ${serverText(server)}`.trimEnd());
    }
  }
  return found.every(({ state }) => state === 'serving') && servers.every(({ state }) => state === 'serving');
}

/** How a service does, and why this caller is not told where that is so. */
async function statusOf(
  service: Workload,
  { caller, clock }: StatusSession,
): Promise<{ readonly status: ServiceStatus; readonly refusal?: Rejection }> {
  const since = clock.monotonicMs();
  const base = { service, gap: 0, lagMs: 0, parked: 0, untold: 0, replicas: [] };
  try {
    const ask = (method: string) => caller.call(service, methodOf(Service.messaging, method), {});
    const questions = ['ListConsumers', 'GetRelay', 'ListReplicas'].map(ask);
    const [{ consumers } = {}, relay = {}, listed = {}] = await Promise.all(questions);
    const rows = objectsIn(consumers);
    const replicas = replicasIn(listed);
    const held = holdOf(service === 'key-vault' ? await currentHold(caller) : undefined);
    const untelling = untellingOf(relay);
    const missing = missingOf(replicas);
    const problem = held || untelling || missing;
    const numbers = (field: string): number[] => rows.map((row) => Number(row[field] ?? 0));
    const status: ServiceStatus = {
      ...base,
      state: held !== '' ? 'on hold' : untelling !== '' ? 'silent' : missing !== '' ? 'degraded' : 'serving',
      answerMs: Math.round(clock.monotonicMs() - since),
      gap: sum(numbers('gap')),
      lagMs: Math.max(0, ...numbers('lagMs')),
      parked: sum(numbers('parkedCount')),
      untold: Number(relay.gap ?? 0),
      replicas,
      problem,
      ...serverWord(service, relay),
    };
    return { status };
  } catch (error) {
    if (!(error instanceof Rejection || error instanceof RpcFailure)) throw error;
    const word = serverWord(service, error);
    const answerMs = Math.round(clock.monotonicMs() - since);
    const status: ServiceStatus = { ...base, ...silence(service, error), answerMs, ...word };
    return error instanceof Rejection && error.code === 'PERMISSION_DENIED' ? { status, refusal: error } : { status };
  }
}

const serverJsonOf = (status: ServerStatus): JsonObject => ({
  ...status,
  services: [...status.services],
  shortages: [...status.shortages],
});

const jsonOf = (status: ServiceStatus): JsonObject => ({
  ...status,
  replicas: status.replicas.map((replica) => ({ ...replica })),
  lacks: [...status.lacks],
  reaches: [...status.reaches],
});

const objectsIn = (value: JsonValue | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? value.filter(isObject) : [];

/** The processes of a service, by what it answers to ListReplicas. */
export const replicasIn = ({ replicas }: JsonObject): readonly ReplicaStatus[] => objectsIn(replicas).map(replicaOf);

/** Which of them are gone, and since when, and which are not ready, and why; empty when all work or stand by. */
export const missingOf = (replicas: readonly ReplicaStatus[]): string =>
  replicas
    .flatMap(({ name, state, since }) => {
      if (state === 'gone') return [`${name} is gone since ${since}`];
      return state === 'not ready' ? [`${name} is ${otherFolder}`] : [];
    })
    .join('; ');

/** Why a process is not ready. */
const otherFolder = 'not ready: OTHER_HOST_FOLDER, its folder is not the one of the host';

const replicaStates: Readonly<Record<string, ReplicaStatus['state']>> = {
  GONE: 'gone',
  STANDBY: 'standby',
  OTHER_HOST_FOLDER: 'not ready',
};

const replicaOf = ({ name, state, goneTime }: JsonObject): ReplicaStatus => ({
  name: String(name).replace('replicas/', ''),
  state: replicaStates[String(state)] ?? 'working',
  since: goneTime === undefined ? '' : String(goneTime),
});

/** `2`, `1 of 2`; `2, 1 standby`: of the two one. */
function processes(replicas: readonly ReplicaStatus[]): string {
  const count = (wanted: ReplicaStatus['state']): number => replicas.filter(({ state }) => state === wanted).length;
  const there = replicas.length - count('gone') - count('not ready');
  const standby = count('standby');
  const those = there === replicas.length ? `${there}` : `${there} of ${replicas.length}`;
  return standby === 0 ? those : `${those}, ${standby} standby`;
}

const replicaLine = ({ name, state, since }: ReplicaStatus): string =>
  `  ${name.padEnd(32)} ${replicaText(state, since)}`;

const replicaText = (state: ReplicaStatus['state'], since: string): string => {
  if (state === 'gone') return `gone since ${since}: the others do what it did`;
  return state === 'not ready' ? otherFolder : state;
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** Why nobody may use a key; empty when everybody may who may. */
const holdOf = (hold: JsonObject | undefined): string =>
  hold === undefined ? '' : `lets nobody use a key since ${hold.startTime}: ${hold.reason} (interlock hold show)`;

/** Why a service cannot tell what happens in it; empty when it can. */
const untellingOf = ({ failingSince, problem }: JsonObject): string =>
  failingSince === undefined ? '' : `has told nothing since ${failingSince}: ${problem}`;
