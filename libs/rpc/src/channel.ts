import type { ChannelOptions } from '@grpc/grpc-js';
import type { Renewed } from '@interlock/runtime';
import { type Client, createChannel, createClientFactory } from 'nice-grpc';
import type { ClientMiddleware } from 'nice-grpc-common';
import { targetOf } from './address-list.ts';
import type { CallOptions } from './client-pipeline.ts';
import { limitConnecting } from './connecting.ts';
import { type ClientTls, channelCredentials } from './credentials.ts';
import { CONTROL_MESSAGE_BYTES_MAX } from './message-size.ts';
import type { Definition } from './service.ts';

/** A channel to a server: over gRPC (`openChannel`) or in the same process (`serveInProcess`). Several clients may share one. */
export interface Channel {
  /** Address, for errors and spans. */
  readonly peer: string;
  /** A client whose calls go through `middleware` and then over this channel. */
  client<D extends Definition>(definition: D, middleware: ClientMiddleware<CallOptions>): Client<D, CallOptions>;
  close(): void;
}

export interface ChannelSettings {
  /** `host:port`, or several of them, separated by commas: the replicas of one service, with certificates for one host. */
  readonly address: string;
  readonly tls: ClientTls | Renewed<ClientTls> | 'plaintext';
  /** Largest message in each direction, in bytes. Default `CONTROL_MESSAGE_BYTES_MAX`. */
  readonly messageBytesMax?: number;
  /**
   * Milliseconds between two keepalive pings while calls are running. Without a response for as long, the connection is closed.
   * Default 10,000.
   */
  readonly silenceMs?: number;
  /** How long a connection may take until the first byte arrives. Default 10,000. */
  readonly connectingMs?: number;
  /** Further options of grpc-js: the data path sets `grpc-node.flow_control_window`. */
  readonly channelOptions?: ChannelOptions;
}

/** Longer than a short pause of a process, which must not cost its connections, and well within a lease. */
const SILENCE_DEFAULT_MS = 10_000;

/** As long: the address of an unreachable server is resolved again within a lease, and it may have changed by then. */
const CONNECTING_DEFAULT_MS = 10_000;

/** Opens a gRPC channel. It connects with the first call and again whenever the connection is lost. */
export function openChannel(settings: ChannelSettings): Channel {
  const { address, tls, messageBytesMax = CONTROL_MESSAGE_BYTES_MAX, silenceMs = SILENCE_DEFAULT_MS } = settings;
  const credentials = limitConnecting(channelCredentials(tls), settings.connectingMs ?? CONNECTING_DEFAULT_MS);
  const channel = createChannel(targetOf(address), credentials, {
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    // A server that restarts must be found again within a lease, not after grpc-js's two minutes.
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 2_000,
    // A restarted pod has another address: resolve it again within a second, not after grpc-js's thirty.
    'grpc.dns_min_time_between_resolutions_ms': 1_000,
    // A machine that lost power ends no connection: TCP retransmits for a quarter of an hour.
    'grpc.keepalive_time_ms': silenceMs,
    'grpc.keepalive_timeout_ms': silenceMs,
    ...settings.channelOptions,
  });
  return {
    peer: address,
    client: (definition, middleware) => createClientFactory().use(middleware).create(definition, channel),
    close: () => channel.close(),
  };
}
