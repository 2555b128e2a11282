import type { ChannelOptions, ServerInterceptor } from '@grpc/grpc-js';
import type { Renewed } from '@interlock/runtime';
import { createServer } from 'nice-grpc';
import { type ServerTls, serverCredentials } from './credentials.ts';
import { health } from './health.ts';
import { CONTROL_MESSAGE_BYTES_MAX } from './message-size.ts';
import { type ReceivingLimits, receiving, STREAMS_PER_CONNECTION_MAX } from './receiving.ts';
import { reflectionDefinition, reflectionOf } from './reflection.ts';
import { releaseSentMemory } from './sent-memory.ts';
import { type PipelineOptions, serverPipeline } from './server-pipeline.ts';
import { type BoundService, rulesOf } from './service.ts';

/** Options that nice-grpc passes to grpc-js, which accepts more than its types declare. */
type ServerChannelOptions = ChannelOptions & { readonly interceptors: ServerInterceptor[] };

export interface ServerOptions extends PipelineOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly address: string;
  readonly tls: ServerTls | Renewed<ServerTls> | 'plaintext';
  readonly services: readonly BoundService[];
  /** Encoded google.protobuf.FileDescriptorSet for reflection; without it reflection is not offered. */
  readonly reflectionDescriptors?: Uint8Array;
  /** Readiness, called at every health check. Default: ready while the server runs. */
  readonly isReady?: () => Promise<boolean> | boolean;
  /** Largest message in each direction. Default `CONTROL_MESSAGE_BYTES_MAX`. */
  readonly messageBytesMax?: number;
  /** Limits on the memory that callers can make the server use. */
  readonly limits?: ReceivingLimits;
  /** Further options of grpc-js: the data path sets `grpc-node.flow_control_window`. */
  readonly channelOptions?: ChannelOptions;
}

export interface RunningServer {
  /** `host:port` with the actual port. */
  readonly address: string;
  /**
   * Reports NOT_SERVING, accepts no new calls and lets running ones finish. Response streams are ended after `streamGraceMs`
   * (default 1,000), everything else after `graceMs` (default 10,000). A connection without calls delays it by 0.2 s at most.
   */
  stop(limits?: { readonly graceMs?: number; readonly streamGraceMs?: number }): Promise<void>;
}

/**
 * Serves services over gRPC.
 * @throws Error when the address cannot be bound
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { services, tls, clock, messageBytesMax = CONTROL_MESSAGE_BYTES_MAX } = options;
  releaseSentMemory();
  const stopping = new AbortController();
  const rules = rulesOf(services);
  const { authenticate, limits = {} } = options;
  const { interceptor, calls } = receiving({ rules, authenticate, clock, limits });
  const serverOptions: ServerChannelOptions = {
    interceptors: [interceptor],
    'grpc.max_concurrent_streams': limits.streamsPerConnectionMax ?? STREAMS_PER_CONNECTION_MAX,
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    ...options.channelOptions,
  };
  const server = createServer(serverOptions);
  const guarded = server.with(serverPipeline(options, rules, stopping.signal));
  for (const { mount } of services) mount(guarded);

  const healthService = health(options.isReady ?? (() => true), stopping.signal);
  healthService.mount(server);
  if (options.reflectionDescriptors !== undefined) {
    const names = services.map(({ name }) => name);
    server.add(reflectionDefinition, reflectionOf(options.reflectionDescriptors, names));
  }

  const port = await server.listen(options.address, serverCredentials(tls));
  return {
    address: `${options.address.replace(/:\d*$/, '')}:${port}`,
    stop: async ({ graceMs = 10_000, streamGraceMs = 1_000 } = {}) => {
      healthService.stop();
      const done = new AbortController();
      const after = async (durationMs: number, act: () => void): Promise<void> => {
        await clock.sleep(durationMs, done.signal);
        if (!done.signal.aborted) act();
      };
      const graces = [after(streamGraceMs, () => stopping.abort()), after(graceMs, () => server.forceShutdown())];
      try {
        // A client that lost its network never ends its side of a connection. grpc-js waits for that even after it has closed its own side.
        await Promise.race([server.shutdown(), calls.idle()]);
      } finally {
        server.forceShutdown();
        calls.stop();
        done.abort();
        await Promise.all(graces);
      }
    },
  };
}
