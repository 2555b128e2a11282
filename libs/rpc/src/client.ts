import type { Client } from 'nice-grpc';
import type { Channel } from './channel.ts';
import { type CallOptions, type ClientPipelineOptions, clientPipeline } from './client-pipeline.ts';
import type { Definition } from './service.ts';

/** The client of a service: one function for each method, `(request, options?)`. */
export type RpcClient<D extends Definition> = Client<D, CallOptions>;

export interface ConnectOptions<D extends Definition> extends Omit<ClientPipelineOptions, 'peer'> {
  readonly channel: Channel;
  readonly definition: D;
}

/**
 * Creates the client of a service.
 *
 * Its methods throw a `Rejection` if the service refused (with its reason and metadata), and an `RpcFailure` if there was no
 * definite response. Every call has a deadline, continues the running trace, and carries
 * the correlation id and the remaining time of the call it is made for.
 */
export const connect = <D extends Definition>({ channel, definition, ...options }: ConnectOptions<D>): RpcClient<D> =>
  channel.client(definition, clientPipeline({ ...options, peer: channel.peer }));
