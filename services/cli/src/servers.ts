import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import type { RpcFailure, Workload } from '@interlock/rpc';

/** What every service needs: its store, and the bus. */
export type ServerName = 'postgres' | 'nats';

/** How a server does, as services say who need it. */
export interface ServerStatus {
  readonly server: ServerName;
  /** `unknown`: no service answers that could say. */
  readonly state: 'serving' | 'failing' | 'unknown';
  /** Those it fails. */
  readonly services: readonly Workload[];
}

/** What a service says of its servers: one that gives no answer says nothing. */
export interface ServerWord {
  readonly lacks: readonly ServerName[];
  readonly reaches: readonly ServerName[];
}

/** The word of a service by how its relay does, or by its failure to say that. */
export function serverWord(relay: JsonObject | Rejection | RpcFailure): ServerWord {
  if (relay instanceof Error) {
    const isOfStore = relay instanceof Rejection && relay.reason === 'STORE_UNAVAILABLE';
    return { lacks: isOfStore ? ['postgres'] : [], reaches: [] };
  }
  const { failingSince, failing } = relay;
  if (failingSince === undefined) return { lacks: [], reaches: ['postgres', 'nats'] };
  return failing === 'STORE' ? { lacks: ['postgres'], reaches: [] } : { lacks: ['nats'], reaches: ['postgres'] };
}

/** Both servers, as all services together say. */
export const serverStatuses = (
  words: readonly (ServerWord & { readonly service: Workload })[],
): readonly ServerStatus[] =>
  (['postgres', 'nats'] as const).map((server) => {
    const failed = words.filter(({ lacks }) => lacks.includes(server)).map(({ service }) => service);
    const isReached = words.some(({ reaches }) => reaches.includes(server));
    return { server, services: failed, state: failed.length > 0 ? 'failing' : isReached ? 'serving' : 'unknown' };
  });

/** Whom a server fails, in words; empty where it serves. */
export function serverText({ server, state, services }: ServerStatus): string {
  if (state === 'serving') return '';
  if (state === 'unknown') return 'no service says how it does';
  return `${services.join(', ')} ${server === 'postgres' ? 'cannot reach it' : 'cannot tell through it'}`;
}
