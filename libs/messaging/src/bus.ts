import type { Outage } from '@interlock/runtime';
import type { StreamState } from './stream-watch.ts';

/** A message handed to a subscriber. It comes again, with a higher count, unless it is acknowledged in time. */
export interface Delivery {
  readonly bytes: Uint8Array;
  /** 1 on the first delivery. */
  readonly deliveryCount: number;
  /** Done: do not deliver again. May itself be lost, so a receiver must recognise what it has already taken in. */
  ack(): void;
  /** Not now: deliver again after `delayMs`. */
  nak(delayMs: number): void;
  /** Never again: it cannot be meant for this receiver. What it may have hidden is read from its source. @param reason for the server's log */
  refuse(reason: string): void;
  /** Still at work: do not deliver again yet. To be repeated well within the bus's acknowledgement wait. */
  working(): void;
}

/** What to receive. */
export interface Interest {
  /** The stream of the source, `streamOf(source)`; an operator creates it, and the subscription waits for that. */
  readonly stream: string;
  /** One subject, without wildcards. */
  readonly subject: string;
  /** Name under which the bus remembers what was acknowledged; subscribers with the same name share the messages. */
  readonly durable: string;
  /** Ends the subscription. */
  readonly signal: AbortSignal;
}

/**
 * The way facts travel between services: fast, at least once, roughly in order, and forgetful. What it acknowledged may
 * be gone after a crash of its server, so nobody relies on it alone: the event store of the source is the record.
 */
export interface Bus {
  /**
   * Resolves when the bus has taken the message; rejects when that is not known, in which case the message may have
   * been taken nevertheless. Several may be in flight; those of one caller arrive in the order of the calls.
   * @param messageId a message with an id the bus saw lately is acknowledged and dropped
   */
  publish(subject: string, messageId: string, bytes: Uint8Array): Promise<void>;
  /** The newest message the bus holds for the subject; undefined when it holds none. */
  lastMessage(subject: string): Promise<Uint8Array | undefined>;
  /**
   * Messages of one subject, oldest first, pulled in small portions. Outlives interruptions and a bus that forgot the
   * stream or the durable; ends only by the signal of the interest or `close`.
   */
  subscribe(interest: Interest): AsyncIterable<Delivery>;
  /**
   * Rises with every reconnection. Whoever published in an earlier session asks `lastMessage` before going on, because
   * the bus may have forgotten what it acknowledged then.
   */
  session(): number;
  /**
   * Since when nothing reaches the bus, for one that has a connection to lose; undefined while it stands. Known before any publish
   * fails for it.
   */
  readonly outage?: () => Outage | undefined;
  /** How the stream of this service is, for a bus whose streams have a configuration; undefined where none is looked at. */
  readonly stream?: () => StreamState;
  /** Ends every subscription and the connection. */
  close(): Promise<void>;
}
