import type { ChannelOptions } from '@grpc/grpc-js';
import type { EventStore, RowKeeper } from '@interlock/event-store';
import type { Handlers, ToFact } from '@interlock/messaging';
import type {
  Authorizer,
  BoundService,
  Certificates,
  Definition,
  KeySource,
  Refusal,
  RpcClient,
  TokenSource,
  Workload,
} from '@interlock/rpc';
import type { Clock, Logger, Random, Renewed, Scope } from '@interlock/runtime';
import type { Meter, Tracer } from '@opentelemetry/api';
import type { Finding } from './probe-server.ts';
import type { Shares } from './shares/shares.ts';

/** How a client of another service is to be made. */
export interface ClientWish {
  /** Whose tokens it carries; by default those of this service's own principal. */
  readonly credentials?: TokenSource;
  /** Largest message in bytes; by default that of control methods. */
  readonly messageBytesMax?: number;
  /** Options of the gRPC channel: a data path sets its flow-control window. */
  readonly channelOptions?: ChannelOptions;
}

/**
 * Everything outside of a service's own code, as `assemble` gets it. Real ones come from `hostService`; a simulation
 * passes its own.
 */
export interface Seams<Settings> {
  readonly store: EventStore;
  /** Opens the streams of one kind of this service, with state rows and lists complete; they are kept so while it runs. */
  readonly openCategory: RowKeeper['open'];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Makes instruments; see docs/metrics.md for their names. */
  readonly meter: Meter;
  readonly settings: Settings;
  /** Asks identity whether a principal may do something, with answers cached for at most `AUTHZ_TTL_MS`. */
  readonly authorize: Authorizer;
  /** Forgets those answers: for when identity says that something changed. */
  readonly forgetPermissions: () => void;
  /** A client of another service. Clients of one service share a connection unless they wish for different channels. */
  readonly client: <D extends Definition>(service: Workload, definition: D, wish?: ClientWish) => RpcClient<D>;
  /** Divides work among the replicas of this service that only one of them may do at a time. */
  readonly shares: Pick<Shares, 'keep' | 'holds' | 'standBy' | 'claimFolder' | 'waitWithOtherFolder'>;
  /** What this process shows and trusts, for connections a service makes by itself. */
  readonly tls: Renewed<Certificates> | 'plaintext';
  /** Closed when the service stops: what `assemble` opens is registered here. */
  readonly scope: Scope;
}

/** What a service does about another's facts. */
export interface Reaction {
  readonly source: Workload;
  readonly handlers: Handlers;
}

/** A service put together: what is asked of it, what it tells, what it hears, what it does by itself. */
export interface Assembly {
  readonly services: readonly BoundService[];
  readonly toFact: ToFact;
  /** What `/readyz` shows beside store and bus. */
  readonly findings?: () => readonly Finding[];
  readonly reactions?: readonly Reaction[];
  /** Work of its own (sweeps, timers), begun when everything else runs; returns when `signal` is aborted. */
  readonly background?: readonly ((signal: AbortSignal) => Promise<void>)[];
  /** Identity alone: its own keys and its own answer in place of asking itself over the network. */
  readonly authority?: { readonly keys: KeySource; readonly check: Authorizer };
  /** Told of calls refused before their handler ran: for a record of refusals. Awaited before the refusal leaves. */
  readonly onRefused?: (refusal: Refusal) => Promise<void>;
  /** Largest message of the server in bytes, longest call in milliseconds, and options of its channels, where the defaults do not do. */
  readonly server?: {
    readonly messageBytesMax?: number;
    readonly deadlineMaxMs?: number;
    readonly channelOptions?: ChannelOptions;
  };
}

/** Puts a service together from its seams. No sockets, no clock, no environment of its own. */
export type Assemble<Settings> = (seams: Seams<Settings>) => Promise<Assembly>;
