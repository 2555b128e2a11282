import type { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { EventStore } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Bus } from './bus.ts';
import type { Handlers } from './handlers.ts';
import type { Keep } from './keep.ts';

/** Reads published facts of one partition after a position from the source: its `ReadFeed`. @throws when the source is unreachable */
export type ReadFeed = (request: {
  readonly source: string;
  readonly partition: number;
  readonly partitionCount: number;
  readonly afterPosition: number;
  readonly signal: AbortSignal;
}) => Promise<FactBatch>;

/** What `startConsumer` needs. */
export interface ConsumerOptions {
  /** The consuming service, for example `disk-encryption-set`. */
  readonly service: string;
  /** The publishing service, for example `key-vault`. */
  readonly source: string;
  /** Categories of the streams whose events the source publishes: `vault` for `vault-…`. A fact of another stream is refused. */
  readonly categories: readonly string[];
  readonly handlers: Handlers;
  readonly readFeed: ReadFeed;
  readonly store: EventStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tracer: Tracer;
  /** Divides the partitions among the replicas of the service; by default this process consumes all of them. */
  readonly keep?: Keep;
  /** That of the source; default 4. */
  readonly partitionCount?: number;
  /** Attempts after which a fact with an unknown error is parked; default 8, about ten seconds. */
  readonly maxAttempts?: number;
  /** After this time without a message (watermarks included) the feed of the source is read; default 5,000. */
  readonly silenceMs?: number;
}
