import type { ConnectionFacts } from '@interlock/otel-jetstream';
import type { Outage } from '@interlock/runtime';
import type { Context } from '@opentelemetry/api';
import type { StreamState } from './stream-watch.ts';

/** A message for a subscriber. It is delivered again, with a higher count, unless it is acknowledged in time. */
export interface Delivery {
  readonly bytes: Uint8Array;
  /** Trace context of its publisher, without a value of this process; the root context if it sent none. */
  readonly context: Context;
  /** 1 on the first delivery. */
  readonly deliveryCount: number;
  /** Done: do not deliver again. It may be lost, so a receiver must recognise messages that it has applied. */
  ack(): void;
  /** Deliver again after `delayMs`. */
  nak(delayMs: number): void;
  /** Never deliver again: it cannot be meant for this receiver, which reads missing facts from the source. @param reason for the server's log */
  refuse(reason: string): void;
  /** In progress: do not deliver again yet. Repeat it well within the acknowledgement wait of the bus. */
  working(): void;
}

/** What a subscription receives. */
export interface Interest {
  /** The stream of the source, `streamOf(source)`. An operator creates it, and the subscription waits until it exists. */
  readonly stream: string;
  /** One subject, without wildcards. */
  readonly subject: string;
  /** Name under which the bus stores what was acknowledged. Subscribers with the same name share the messages. */
  readonly durable: string;
  /** Ends the subscription. */
  readonly signal: AbortSignal;
}

/** A message of a tail: nothing to acknowledge, and never delivered again. */
export type Tailed = Pick<Delivery, 'bytes' | 'context'>;

/**
 * Delivers facts between services: fast, at least once, and roughly in order. A crash of its server may lose acknowledged messages,
 * so it is not the record: the event store of the source is.
 */
export interface Bus {
  /**
   * Resolves when the bus has stored the message; rejects when that is unknown (it may be stored nevertheless). Several may be in
   * flight; those of one caller arrive in the order of the calls. The running trace context travels with the message.
   * @param messageId the bus acknowledges and drops a message with an id that it received recently
   */
  publish(subject: string, messageId: string, bytes: Uint8Array): Promise<void>;
  /** The newest message of the subject on the bus; undefined without one. */
  lastMessage(subject: string): Promise<Uint8Array | undefined>;
  /**
   * Messages of one subject, oldest first, fetched in small portions. It survives interruptions and a bus that lost the stream or the
   * durable, and ends only by the signal of the interest or `close`.
   */
  subscribe(interest: Interest): AsyncIterable<Delivery>;
  /**
   * Messages of one subject that are published from now on, for every process that wants them: the bus stores nothing about a tail, so
   * it loses what is published while this process is not connected, and more than 4 MiB that wait for their reader. Positions in the
   * messages show what is missing. It subscribes before this returns, and ends by the signal or `close`.
   */
  tail(subject: string, signal: AbortSignal): AsyncIterable<Tailed>;
  /**
   * Rises with every reconnection. A publisher reads `lastMessage` before it continues in a new session, because the bus may have lost
   * what it acknowledged in the earlier one.
   */
  session(): number;
  /**
   * Since when a bus with a connection is disconnected; undefined while it is connected. Known before a publish fails.
   */
  readonly outage?: () => Outage | undefined;
  /** The server it is connected to, for spans; absent for a bus without one. */
  readonly connection?: ConnectionFacts;
  /** State of this service's stream, for a bus with configured streams; undefined if it is not checked. */
  readonly stream?: () => StreamState;
  /** Ends every subscription and the connection. */
  close(): Promise<void>;
}
