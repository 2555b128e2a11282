import type { ChannelOptions } from '@grpc/grpc-js';
import type { EventStore, RowKeeper } from '@interlock/event-store';
import type { Following, Handlers, ToFact } from '@interlock/messaging';
import type {
  Authorizer,
  BoundService,
  CachingAuthorizer,
  Certificates,
  Definition,
  KeySource,
  PipelineOptions,
  Refusal,
  RetryPolicy,
  RpcClient,
  TokenSource,
  Workload,
} from '@interlock/rpc';
import type { Clock, Logger, Random, Renewed, Scope } from '@interlock/runtime';
import type { Meter, Tracer } from '@opentelemetry/api';
import type { WorkPartitions } from './partitions/work-partitions.ts';
import type { Finding } from './probe-server.ts';

/** How to open a client of another service. */
export interface ClientOptions {
  /** Source of its tokens; by default this service's own principal. */
  readonly credentials?: TokenSource;
  /** Largest message in bytes; by default that of control methods. */
  readonly messageBytesMax?: number;
  /** Options of the gRPC channel: a data path sets its flow-control window. */
  readonly channelOptions?: ChannelOptions;
  /** Retries of its calls; by default those of a service. */
  readonly retry?: RetryPolicy;
}

/** One process of a service, at an address of its own. */
export interface PeerProcess {
  /** A client of it. The token of a call goes before the service's own. */
  client<D extends Definition>(definition: D, options?: { readonly retry?: RetryPolicy }): RpcClient<D>;
  /** Whether the process responds within that time, in milliseconds, to a call that needs no other service. */
  responds(withinMs: number): Promise<boolean>;
  /** Closes the connection; calls in flight fail. */
  close(): void;
}

/** Opens a connection to one process of a service. @param address `host:port` */
export type ConnectTo = (service: Workload, address: string) => PeerProcess;

/**
 * Everything outside of a service's own code, as `assemble` gets it. Real ones come from `hostService`; a simulation
 * passes its own.
 */
export interface Seams<Settings> {
  readonly store: EventStore;
  /** Opens the streams of one kind, with complete state rows and lists; they are kept complete while the service runs. */
  readonly openCategory: RowKeeper['open'];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Makes instruments; see docs/metrics.md for their names. */
  readonly meter: Meter;
  readonly settings: Settings;
  /** Checks a permission at identity; results are cached for at most `AUTHZ_TTL_MS`. */
  readonly authorize: Authorizer;
  /** The same without a wait, from the cache only. */
  readonly cachedGrant: CachingAuthorizer['cachedGrant'];
  /** Drops the cached results, after a change at identity. */
  readonly forgetPermissions: () => void;
  /** A client of another service. Clients of one service share a connection unless they need different channels. */
  readonly client: <D extends Definition>(service: Workload, definition: D, options?: ClientOptions) => RpcClient<D>;
  /**
   * Keeps facts of another service in the memory of this process, also if another process of this service consumes them.
   * @returns when memory has what is stored; it follows until the service stops
   */
  readonly follow: (following: Following & { readonly source: Workload }) => Promise<void>;
  /** A connection to one process of a service; its owner closes it. */
  readonly connectTo: ConnectTo;
  /** Divides work that only one replica of this service may do at a time. */
  readonly partitions: Pick<WorkPartitions, 'keep' | 'holds' | 'claimFolder' | 'waitWithOtherFolder'>;
  /** Certificates and authorities, for connections that a service opens itself. */
  readonly tls: Renewed<Certificates> | 'plaintext';
  /** Closed when the service stops; `assemble` registers here what it opens. */
  readonly scope: Scope;
}

/** The handlers of a service for the facts of another. */
export interface Reaction {
  readonly source: Workload;
  readonly handlers: Handlers;
}

/** An assembled service: its API, its facts, its reactions and its background work. */
export interface Assembly {
  readonly services: readonly BoundService[];
  /**
   * How its events are published. Absent: this process neither publishes nor consumes facts, and serves no MessagingService, because
   * other processes of the service on the same store do.
   */
  readonly toFact?: ToFact;
  /** Findings of `/readyz` in addition to store and bus. */
  readonly findings?: () => readonly Finding[];
  readonly reactions?: readonly Reaction[];
  /** Background work (sweeps, timers), started when everything else runs; it returns when `signal` is aborted. */
  readonly background?: readonly ((signal: AbortSignal) => Promise<void>)[];
  /** Only for identity: its own keys and its own check, instead of a call to itself. */
  readonly authority?: { readonly keys: KeySource; readonly check: Authorizer };
  /** Called for each call that is refused before its handler runs, to record the refusal; awaited before the refusal is sent. */
  readonly onRefused?: (refusal: Refusal) => Promise<void>;
  /** Address of the caller of a call; default: that of the connection. */
  readonly peerOf?: PipelineOptions['peerOf'];
  /** Largest message in bytes, longest call in milliseconds, and channel options, instead of the server's defaults. */
  readonly server?: {
    readonly messageBytesMax?: number;
    readonly deadlineMaxMs?: number;
    readonly channelOptions?: ChannelOptions;
  };
}

/** Assembles a service from its seams. It has no sockets, clock or environment of its own. */
export type Assemble<Settings> = (seams: Seams<Settings>) => Promise<Assembly>;
