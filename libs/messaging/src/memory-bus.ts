import type { Clock, Random } from '@interlock/runtime';
import { context, propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Bus, Delivery, Interest } from './bus.ts';
import type { BusFaults } from './bus-faults.ts';
import { MemoryTails } from './memory-tails.ts';
import { serviceOf, streamOf } from './subjects.ts';

/** A bus in memory with faults on demand: worse than the real one, and the same for the same seed. */
export interface MemoryBus extends Bus {
  readonly faults: BusFaults;
  /** Cuts every connection: publishing fails and nothing is delivered until `reconnect`. */
  disconnect(): void;
  /** Ends a disconnection and starts a new session. Unacknowledged deliveries come again. */
  reconnect(): void;
  /** Loses the newest `count` messages of a subject although they were acknowledged. @returns the number of lost messages */
  forget(subject: string, count: number): number;
}

/** What a memory bus needs. */
export interface MemoryBusOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Default 30,000. */
  readonly ackWaitMs?: number;
}

interface Message {
  readonly sequence: number;
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Trace context of the publisher, in the form in which it travels. */
  readonly headers: Readonly<Record<string, string>>;
}

interface Outstanding {
  readonly message: Message;
  deliveryCount: number;
  /** Monotonic time from which it may be delivered (again). */
  dueAt: number;
}

/** Time after which an unacknowledged message is delivered again, as on the NATS bus. */
const ACK_WAIT_MS = 30_000;
/** Deliveries of one durable that may be unacknowledged, as on the NATS bus. */
const MAX_ACK_PENDING = 64;
/** Messages kept for each subject; the oldest are dropped, as on the NATS bus. */
const MESSAGES_MAX = 20_000;

/** The bus for tests and the simulation. It passes the same contract suite as the NATS bus while no fault is on. */
export const memoryBus = (options: MemoryBusOptions): MemoryBus => {
  const server = new MemoryServer(options);
  return {
    faults: server.faults,
    publish: async (subject, messageId, bytes) => server.publish(subject, messageId, bytes),
    lastMessage: async (subject) => server.lastMessage(subject),
    subscribe: (interest) => server.subscribe(interest),
    tail: (subject, signal) => server.tails.open(subject, signal),
    session: () => server.session,
    disconnect: () => server.disconnect(),
    reconnect: () => server.reconnect(),
    forget: (subject, count) => server.forget(subject, count),
    close: async () => server.close(),
  };
};

/** All streams of a bus, and the connection of its clients. */
class MemoryServer {
  readonly faults: BusFaults = { loseAfterAck: 0, loseAck: 0, duplicate: 0, delay: 0, delayMs: 1_000, reorder: 0 };
  readonly tails: MemoryTails;
  session = 1;
  readonly #random: Random;
  readonly #options: MemoryBusOptions;
  readonly #messages = new Map<string, Message[]>();
  readonly #messageIds = new Set<string>();
  readonly #durables = new Map<string, Durable>();
  readonly #waiting: Waiting;
  #sequence = 0;
  #isConnected = true;
  #isClosed = false;

  constructor(options: MemoryBusOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#waiting = new Waiting(options.clock);
    this.tails = new MemoryTails({ ...options, faults: this.faults });
  }

  publish(subject: string, messageId: string, bytes: Uint8Array): void {
    this.#assertConnected();
    const id = `${streamOf(serviceOf(subject))} ${messageId}`;
    if (!this.#messageIds.has(id) && !this.happens(this.faults.loseAfterAck)) {
      this.#messageIds.add(id);
      this.#sequence += 1;
      const held = this.messagesOf(subject);
      const headers: Record<string, string> = {};
      propagation.inject(context.active(), headers);
      held.push({ sequence: this.#sequence, subject, bytes: bytes.slice(), headers });
      this.tails.publish(subject, { bytes: bytes.slice(), context: propagation.extract(ROOT_CONTEXT, headers) });
      if (held.length > MESSAGES_MAX) held.splice(0, MESSAGES_MAX / 2);
      this.#waiting.wake(subject);
    }
    if (this.happens(this.faults.loseAck)) throw new Error('the acknowledgement was lost');
  }

  lastMessage(subject: string): Uint8Array | undefined {
    this.#assertConnected();
    return this.messagesOf(subject).at(-1)?.bytes;
  }

  async *subscribe(interest: Interest): AsyncGenerator<Delivery, void> {
    const { subject, signal } = interest;
    const durable = this.#durableOf(interest);
    while (!signal.aborted && !this.#isClosed) {
      const { delivery, waitMs } = this.#isConnected ? durable.next() : { waitMs: Number.POSITIVE_INFINITY };
      if (delivery) yield delivery;
      else await this.#waiting.pause(subject, waitMs, signal);
    }
  }

  disconnect(): void {
    this.#isConnected = false;
  }

  reconnect(): void {
    this.#isConnected = true;
    this.session += 1;
    for (const durable of this.#durables.values()) durable.redeliverAll();
    this.#waiting.wakeAll();
  }

  forget(subject: string, count: number): number {
    const forgotten = this.messagesOf(subject).splice(-count, count);
    for (const durable of this.#durables.values()) durable.drop(forgotten);
    // A server that lost messages also lost their ids.
    this.#messageIds.clear();
    return forgotten.length;
  }

  close(): void {
    this.#isClosed = true;
    this.tails.close();
    this.#waiting.wakeAll();
  }

  messagesOf(subject: string): Message[] {
    const found = this.#messages.get(subject) ?? [];
    this.#messages.set(subject, found);
    return found;
  }

  happens(probability: number): boolean {
    return probability > 0 && this.#random.fraction() < probability;
  }

  #durableOf({ stream, durable: name, subject }: Interest): Durable {
    const key = `${stream} ${name}`;
    const { clock, random, ackWaitMs = ACK_WAIT_MS } = this.#options;
    const found =
      this.#durables.get(key) ??
      new Durable({
        clock,
        random,
        ackWaitMs,
        server: this,
        subject,
        acknowledge: (remove) => {
          if (this.#isConnected && remove()) this.#waiting.wake(subject);
        },
        wake: () => this.#waiting.wake(subject),
      });
    this.#durables.set(key, found);
    return found;
  }

  #assertConnected(): void {
    if (this.#isClosed) throw new Error('the bus is closed');
    if (!this.#isConnected) throw new Error('the bus is not connected');
  }
}

interface DurableParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly ackWaitMs: number;
  readonly server: MemoryServer;
  readonly subject: string;
  /** Runs `remove` if the acknowledgement reaches the server. */
  readonly acknowledge: (remove: () => boolean) => void;
  /** Wakes subscribers that wait for a message. */
  readonly wake: () => void;
}

/** What one durable has delivered and what is not acknowledged. */
class Durable {
  readonly #parts: DurableParts;
  readonly #outstanding = new Map<number, Outstanding>();
  #nextSequence = 1;

  constructor(parts: DurableParts) {
    this.#parts = parts;
  }

  /** The next delivery, or the time until one is due. */
  next(): { readonly delivery?: Delivery; readonly waitMs: number } {
    this.#admit();
    const { found, waitMs } = this.#nextDue();
    return found ? { delivery: this.#deliver(found), waitMs: 0 } : { waitMs };
  }

  redeliverAll(): void {
    for (const one of this.#outstanding.values()) one.dueAt = 0;
  }

  drop(messages: readonly Message[]): void {
    for (const { sequence } of messages) this.#outstanding.delete(sequence);
  }

  /** Takes new messages of the subject, with their delays. */
  #admit(): void {
    const { server, subject, clock, random } = this.#parts;
    const { faults } = server;
    const held = server.messagesOf(subject);
    let index = held.length;
    while (index > 0 && (held[index - 1]?.sequence ?? 0) >= this.#nextSequence) index -= 1;
    for (; index < held.length && this.#outstanding.size < MAX_ACK_PENDING; index += 1) {
      const message = held[index];
      if (!message) return;
      this.#nextSequence = message.sequence + 1;
      const dueAt = server.happens(faults.delay) ? clock.monotonicMs() + random.fraction() * faults.delayMs : 0;
      this.#outstanding.set(message.sequence, { message, deliveryCount: 0, dueAt });
    }
  }

  /** The first message that is due, or the time until one is. They are in order of their sequence. */
  #nextDue(): { readonly found?: Outstanding; readonly waitMs: number } {
    const { server, clock } = this.#parts;
    const now = clock.monotonicMs();
    let found: Outstanding | undefined;
    let waitMs = Number.POSITIVE_INFINITY;
    for (const one of this.#outstanding.values()) {
      if (one.dueAt > now) waitMs = Math.min(waitMs, one.dueAt - now);
      else if (!found) {
        found = one;
        if (server.faults.reorder === 0) break;
      } else {
        if (server.happens(server.faults.reorder)) found = one;
        break;
      }
    }
    return found ? { found, waitMs: 0 } : { waitMs };
  }

  #deliver(one: Outstanding): Delivery {
    const { server, clock, ackWaitMs, acknowledge, wake } = this.#parts;
    one.deliveryCount += 1;
    one.dueAt = clock.monotonicMs() + (server.happens(server.faults.duplicate) ? 0 : ackWaitMs);
    const remove = (): void => acknowledge(() => this.#outstanding.delete(one.message.sequence));
    return {
      bytes: one.message.bytes,
      context: propagation.extract(ROOT_CONTEXT, one.message.headers),
      deliveryCount: one.deliveryCount,
      ack: remove,
      refuse: remove,
      nak: (delayMs) => {
        one.dueAt = clock.monotonicMs() + delayMs;
        wake();
      },
      working: () => {
        one.dueAt = clock.monotonicMs() + ackWaitMs;
      },
    };
  }
}

/** Subscribers that wait for a change, by subject. */
class Waiting {
  readonly #clock: Clock;
  readonly #waiters = new Map<string, Set<() => void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(subject: string): void {
    for (const go of [...(this.#waiters.get(subject) ?? [])]) go();
  }

  wakeAll(): void {
    for (const subject of [...this.#waiters.keys()]) this.wake(subject);
  }

  /** Waits for `wake`, for `waitMs`, or for the end of the signal; the first of them. */
  pause(subject: string, waitMs: number, signal: AbortSignal): Promise<void> {
    const waiters = this.#waiters.get(subject) ?? new Set();
    this.#waiters.set(subject, waiters);
    return new Promise((resolve) => {
      const go = (): void => {
        due?.cancel();
        waiters.delete(go);
        signal.removeEventListener('abort', go);
        resolve();
      };
      const due = Number.isFinite(waitMs) ? this.#clock.alarm(waitMs, go) : undefined;
      waiters.add(go);
      signal.addEventListener('abort', go);
    });
  }
}
