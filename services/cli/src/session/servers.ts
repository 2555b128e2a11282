import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { problemText } from '../failure.ts';

/** The servers that every service needs. */
export type ServerName = 'postgres' | 'nats';

/** State of a server, as the services report it. */
export interface ServerStatus {
  readonly server: ServerName;
  /** `unknown`: no service responds that could report it. */
  readonly state: 'serving' | 'degraded' | 'failing' | 'unknown';
  /** Services that cannot reach it. */
  readonly services: readonly Workload[];
  /** Missing copies of streams: one text per service that reports them. */
  readonly shortages: readonly string[];
}

/** What one service reports about the servers. A service that does not respond reports nothing. */
export interface ServerReport {
  readonly lacks: readonly ServerName[];
  readonly reaches: readonly ServerName[];
  /** Missing copies of the service's stream; empty when none is missing. */
  readonly shortage: string;
}

/** The report in the state of a relay, or in the failure to read it. */
export function serverReport(service: Workload, relay: JsonObject | Rejection | RpcFailure): ServerReport {
  if (relay instanceof Error)
    return { lacks: lacksStore(service, relay) ? ['postgres'] : [], reaches: [], shortage: '' };
  const { failingSince, failing } = relay;
  const shortage = shortageOf(service, relay);
  if (failingSince === undefined) return { lacks: [], reaches: ['postgres', 'nats'], shortage };
  return failing === 'STORE'
    ? { lacks: ['postgres'], reaches: [], shortage }
    : { lacks: ['nats'], reaches: ['postgres'], shortage };
}

/** With fewer copies than configured, the failure of one more NATS server may lose the stream. */
const shortageOf = (service: Workload, { streamProblem, streamCopies, streamCopiesWanted }: JsonObject): string => {
  if (streamProblem) return String(streamProblem);
  const [copies, wanted] = [Number(streamCopies ?? 0), Number(streamCopiesWanted ?? 0)];
  return copies < wanted ? `the stream of ${service} has ${copies} of ${wanted} copies` : '';
};

/** State of a service that did not report its own. */
export interface UnreadState {
  /** `no store`: it cannot reach Postgres. `not called`: identity issues no token for it. */
  readonly state: 'no store' | 'not called' | 'refusing' | 'unreachable';
  readonly problem: string;
}

/** What the failure of a call says about the service. */
export function unreadState(service: Workload, error: Rejection | RpcFailure): UnreadState {
  if (lacksStore(service, error)) {
    const isFull = attempts(error).some((one) => one instanceof Rejection && one.metadata.store === 'FULL');
    return { state: 'no store', problem: isFull ? 'Postgres has no space left' : 'cannot reach Postgres' };
  }
  if (lacksToken(service, error)) return { state: 'not called', problem: 'identity issues no token for the call' };
  const isRefusal = error instanceof Rejection && error.code !== 'UNAVAILABLE';
  const missing = error instanceof Rejection ? error.metadata.action : undefined;
  const problem = missing === undefined ? problemText(error) : `the caller lacks ${missing}`;
  return { state: isRefusal ? 'refusing' : 'unreachable', problem };
}

const lacksStore = (service: Workload, error: Error): boolean =>
  attempts(error).some((one) => one instanceof Rejection && one.reason === 'STORE_UNAVAILABLE') &&
  !lacksToken(service, error);

/** The call waited for identity until its own deadline (libs/rpc/src/client-pipeline.ts). */
const noToken = 'no token before the deadline';

const lacksToken = (service: Workload, error: Error): boolean =>
  service !== 'identity' &&
  attempts(error).some((one) =>
    one instanceof RpcFailure
      ? one.method.endsWith('/IssueToken') || one.message.includes(noToken)
      : one.metadata.token_issuer !== undefined,
  );

/** A failure, and the failures of the attempts before it. */
const attempts = (error: unknown): readonly (Rejection | RpcFailure)[] => {
  if (error instanceof Rejection) return [error];
  return error instanceof RpcFailure ? [error, ...attempts(error.cause)] : [];
};

/** The state of both servers, from the reports of all services. */
export const serverStatuses = (
  reports: readonly (ServerReport & { readonly service: Workload })[],
): readonly ServerStatus[] =>
  (['postgres', 'nats'] as const).map((server) => {
    const services = reports.filter(({ lacks }) => lacks.includes(server)).map(({ service }) => service);
    const isReached = reports.some(({ reaches }) => reaches.includes(server));
    const shortages = server === 'nats' ? reports.flatMap(({ shortage }) => (shortage === '' ? [] : [shortage])) : [];
    const reached = shortages.length > 0 ? 'degraded' : 'serving';
    return { server, services, shortages, state: services.length > 0 ? 'failing' : isReached ? reached : 'unknown' };
  });

/** What is wrong with a server; empty when it serves. */
export function serverText({ server, state, services, shortages }: ServerStatus): string {
  if (state === 'serving') return '';
  if (state === 'degraded') return shortages.join('; ');
  if (state === 'unknown') return 'no service reports its state';
  return `${services.join(', ')} ${server === 'postgres' ? 'cannot reach it' : 'cannot publish to it'}`;
}
