import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure, type Workload } from '@interlock/rpc';
import { problemText } from '../failure.ts';

/** What every service needs: its store, and the bus. */
export type ServerName = 'postgres' | 'nats';

/** How a server does, as services say who need it. */
export interface ServerStatus {
  readonly server: ServerName;
  /** `unknown`: no service answers that could say. */
  readonly state: 'serving' | 'degraded' | 'failing' | 'unknown';
  /** Those it fails. */
  readonly services: readonly Workload[];
  /** What is less than it should be, in words: one entry for each service that reports it. */
  readonly shortages: readonly string[];
}

/** What a service says of its servers: one that gives no answer says nothing. */
export interface ServerWord {
  readonly lacks: readonly ServerName[];
  readonly reaches: readonly ServerName[];
  /** What NATS has less of than it should, for this service; empty where nothing is missing. */
  readonly shortage: string;
}

/** The word of a service by how its relay does, or by its failure to say that. */
export function serverWord(service: Workload, relay: JsonObject | Rejection | RpcFailure): ServerWord {
  if (relay instanceof Error)
    return { lacks: isStoreLackedBy(service, relay) ? ['postgres'] : [], reaches: [], shortage: '' };
  const { failingSince, failing } = relay;
  const shortage = shortageOf(service, relay);
  if (failingSince === undefined) return { lacks: [], reaches: ['postgres', 'nats'], shortage };
  return failing === 'STORE'
    ? { lacks: ['postgres'], reaches: [], shortage }
    : { lacks: ['nats'], reaches: ['postgres'], shortage };
}

/** With fewer copies than there should be, the loss of one more server may take the stream away. */
const shortageOf = (service: Workload, { streamProblem, streamCopies, streamCopiesWanted }: JsonObject): string => {
  if (streamProblem) return String(streamProblem);
  const [copies, wanted] = [Number(streamCopies ?? 0), Number(streamCopiesWanted ?? 0)];
  return copies < wanted ? `the stream of ${service} has ${copies} of ${wanted} copies` : '';
};

/** How a service does that did not say it. */
export interface Silence {
  /**
   * `no store`: it answers, and does not reach what it keeps everything in. `not asked`: identity gives no token to ask it with, which
   * says nothing about the service itself.
   */
  readonly state: 'no store' | 'not asked' | 'refusing' | 'unreachable';
  readonly problem: string;
}

/** What a failed question says of the service it was for. */
export function silence(service: Workload, error: Rejection | RpcFailure): Silence {
  if (isStoreLackedBy(service, error)) return { state: 'no store', problem: 'does not reach Postgres' };
  if (isWithoutToken(service, error)) return { state: 'not asked', problem: 'identity gives no token to ask it with' };
  const isAnswer = error instanceof Rejection && error.code !== 'UNAVAILABLE';
  const missing = error instanceof Rejection ? error.metadata.action : undefined;
  const problem = missing === undefined ? problemText(error) : `the right ${missing} is missing`;
  return { state: isAnswer ? 'refusing' : 'unreachable', problem };
}

const isStoreLackedBy = (service: Workload, error: Error): boolean =>
  tried(error).some((one) => one instanceof Rejection && one.reason === 'STORE_UNAVAILABLE') &&
  !isWithoutToken(service, error);

const isWithoutToken = (service: Workload, error: Error): boolean =>
  service !== 'identity' &&
  tried(error).some((one) =>
    one instanceof RpcFailure ? one.method.endsWith('/IssueToken') : one.metadata.token_issuer !== undefined,
  );

/** What failed, and what failed before it where it was asked again until the time was over. */
const tried = (error: unknown): readonly (Rejection | RpcFailure)[] => {
  if (error instanceof Rejection) return [error];
  return error instanceof RpcFailure ? [error, ...tried(error.cause)] : [];
};

/** Both servers, as all services together say. */
export const serverStatuses = (
  words: readonly (ServerWord & { readonly service: Workload })[],
): readonly ServerStatus[] =>
  (['postgres', 'nats'] as const).map((server) => {
    const failed = words.filter(({ lacks }) => lacks.includes(server)).map(({ service }) => service);
    const isReached = words.some(({ reaches }) => reaches.includes(server));
    const shortages = server === 'nats' ? words.flatMap(({ shortage }) => (shortage === '' ? [] : [shortage])) : [];
    const reached = shortages.length > 0 ? 'degraded' : 'serving';
    return {
      server,
      services: failed,
      shortages,
      state: failed.length > 0 ? 'failing' : isReached ? reached : 'unknown',
    };
  });

/** Whom a server fails, in words; empty where it serves. */
export function serverText({ server, state, services, shortages }: ServerStatus): string {
  if (state === 'serving') return '';
  if (state === 'degraded') return shortages.join('; ');
  if (state === 'unknown') return 'no service says how it does';
  return `${services.join(', ')} ${server === 'postgres' ? 'cannot reach it' : 'cannot tell through it'}`;
}
