import type { Clock, Random } from '@interlock/runtime';
import type { Bus, Delivery, Interest } from './bus.ts';
import { serviceOf, streamOf } from './subjects.ts';

/** What may go wrong, as probabilities per message (0: never, the default). May be changed while running. */
export interface BusFaults {
  /** Acknowledged and then forgotten: what a bus does that is not synced when its server dies. */
  loseAfterAck: number;
  /** Taken, but the publisher is told that it was not. */
  loseAck: number;
  /** Delivered twice. */
  duplicate: number;
  /** Handed over up to `delayMs` late, while later messages pass. */
  delay: number;
  delayMs: number;
  /** The next but one is delivered first. */
  reorder: number;
}

/** A bus in memory with faults on demand: worse than the real one, and the same for the same seed. */
export interface MemoryBus extends Bus {
  readonly faults: BusFaults;
  /** Cuts every connection: publishing fails and nothing is delivered until `reconnect`. */
  disconnect(): void;
  /** Ends a disconnection and begins a new session. What was delivered and not acknowledged comes again. */
  reconnect(): void;
  /** Forgets the newest `count` messages of a subject although they were acknowledged. @returns how many there were */
  forget(subject: string, count: number): number;
}

interface Message {
  readonly sequence: number;
  readonly subject: string;
  readonly bytes: Uint8Array;
}

interface Outstanding {
  readonly message: Message;
  deliveryCount: number;
  /** Monotonic time from which it may be handed out (again). */
  dueAt: number;
}

interface Durable {
  nextSequence: number;
  readonly outstanding: Map<number, Outstanding>;
}

/** How long an unacknowledged message stays with its receiver before it is delivered again. As the NATS bus has it. */
const ACK_WAIT_MS = 30_000;
/** Deliveries of one durable that may be unacknowledged. As the NATS bus has it. */
const MAX_ACK_PENDING = 64;
/** Messages kept per subject; the oldest make room, as they do on the real one. */
const MESSAGES_MAX = 20_000;

/**
 * The twin of the NATS bus for tests and for the simulation; passes the same contract suite while no fault is on.
 * @param options.ackWaitMs default 30,000
 */
export const memoryBus = (options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly ackWaitMs?: number;
}): MemoryBus => {
  const { clock, random, ackWaitMs = ACK_WAIT_MS } = options;
  const faults: BusFaults = { loseAfterAck: 0, loseAck: 0, duplicate: 0, delay: 0, delayMs: 1_000, reorder: 0 };
  const messages = new Map<string, Message[]>();
  const seenIds = new Set<string>();
  const durables = new Map<string, Durable>();
  let sequence = 0;
  let session = 1;
  let connected = true;
  let closed = false;
  /** Subscribers that wait for something to change, by subject. */
  const waiting = new Map<string, Set<() => void>>();

  const waitingFor = (subject: string): Set<() => void> => {
    const found = waiting.get(subject) ?? new Set();
    waiting.set(subject, found);
    return found;
  };
  const wake = (subject: string): void => {
    for (const go of [...(waiting.get(subject) ?? [])]) go();
  };
  const wakeAll = (): void => {
    for (const subject of [...waiting.keys()]) wake(subject);
  };
  const happens = (probability: number): boolean => probability > 0 && random.fraction() < probability;
  const ofSubject = (subject: string): Message[] => {
    const found = messages.get(subject) ?? [];
    messages.set(subject, found);
    return found;
  };
  const assertConnected = (): void => {
    if (closed) throw new Error('the bus is closed');
    if (!connected) throw new Error('the bus is not connected');
  };

  const durableOf = (interest: Interest): Durable => {
    const name = `${interest.stream} ${interest.durable}`;
    const found = durables.get(name) ?? { nextSequence: 1, outstanding: new Map() };
    durables.set(name, found);
    return found;
  };

  /** Moves new messages of the subject to the durable, with their faults. */
  const admit = (durable: Durable, subject: string): void => {
    const held = ofSubject(subject);
    let index = held.length;
    while (index > 0 && (held[index - 1]?.sequence ?? 0) >= durable.nextSequence) index -= 1;
    for (; index < held.length && durable.outstanding.size < MAX_ACK_PENDING; index += 1) {
      const message = held[index];
      if (!message) return;
      durable.nextSequence = message.sequence + 1;
      const dueAt = happens(faults.delay) ? clock.monotonicMs() + random.fraction() * faults.delayMs : 0;
      durable.outstanding.set(message.sequence, { message, deliveryCount: 0, dueAt });
    }
  };

  /** The next message that is due, and (when none is) how long until one will be. They lie in order of their sequence. */
  const next = (durable: Durable): { readonly found?: Outstanding; readonly waitMs: number } => {
    const now = clock.monotonicMs();
    let found: Outstanding | undefined;
    let waitMs = Number.POSITIVE_INFINITY;
    for (const one of durable.outstanding.values()) {
      if (one.dueAt > now) waitMs = Math.min(waitMs, one.dueAt - now);
      else if (!found) {
        found = one;
        if (faults.reorder === 0) break;
      } else {
        if (happens(faults.reorder)) found = one;
        break;
      }
    }
    return found ? { found, waitMs: 0 } : { waitMs };
  };

  const deliver = (durable: Durable, subject: string, one: Outstanding): Delivery => {
    one.deliveryCount += 1;
    one.dueAt = clock.monotonicMs() + (happens(faults.duplicate) ? 0 : ackWaitMs);
    const { sequence: own } = one.message;
    return {
      bytes: one.message.bytes,
      deliveryCount: one.deliveryCount,
      ack: () => {
        if (connected && durable.outstanding.delete(own)) wake(subject);
      },
      nak: (delayMs) => {
        one.dueAt = clock.monotonicMs() + delayMs;
        wake(subject);
      },
      refuse: () => {
        if (connected && durable.outstanding.delete(own)) wake(subject);
      },
      working: () => {
        one.dueAt = clock.monotonicMs() + ackWaitMs;
      },
    };
  };

  /** Waits for a new message, for `waitMs`, or for the end of the subscription; the first of them. */
  const pause = (subject: string, waitMs: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const go = (): void => {
        due?.cancel();
        waitingFor(subject).delete(go);
        signal.removeEventListener('abort', go);
        resolve();
      };
      const due = Number.isFinite(waitMs) ? clock.alarm(waitMs, go) : undefined;
      waitingFor(subject).add(go);
      signal.addEventListener('abort', go);
    });

  /** @returns undefined when the subscription is over */
  const nextFor = async (durable: Durable, { subject, signal }: Interest): Promise<Delivery | undefined> => {
    while (!signal.aborted && !closed) {
      if (connected) admit(durable, subject);
      const { found, waitMs } = connected ? next(durable) : { waitMs: Number.POSITIVE_INFINITY };
      if (found) return deliver(durable, subject, found);
      await pause(subject, waitMs, signal);
    }
    return undefined;
  };

  return {
    faults,
    async publish(subject, messageId, bytes) {
      assertConnected();
      const id = `${streamOf(serviceOf(subject))} ${messageId}`;
      if (!seenIds.has(id) && !happens(faults.loseAfterAck)) {
        seenIds.add(id);
        sequence += 1;
        const held = ofSubject(subject);
        held.push({ sequence, subject, bytes: bytes.slice() });
        if (held.length > MESSAGES_MAX) held.splice(0, MESSAGES_MAX / 2);
        wake(subject);
      }
      if (happens(faults.loseAck)) throw new Error('the acknowledgement was lost');
    },
    async lastMessage(subject) {
      assertConnected();
      return ofSubject(subject).at(-1)?.bytes;
    },
    subscribe: (interest) =>
      deliveries(
        () => durableOf(interest),
        (durable) => nextFor(durable, interest),
      ),
    session: () => session,
    disconnect() {
      connected = false;
    },
    reconnect() {
      connected = true;
      session += 1;
      for (const { outstanding } of durables.values()) for (const one of outstanding.values()) one.dueAt = 0;
      wakeAll();
    },
    forget(subject, count) {
      const forgotten = ofSubject(subject).splice(-count, count);
      for (const { outstanding } of durables.values()) {
        for (const { sequence: gone } of forgotten) outstanding.delete(gone);
      }
      // A server that lost messages also lost what it knew about their ids.
      seenIds.clear();
      return forgotten.length;
    },
    async close() {
      closed = true;
      wakeAll();
    },
  };
};

async function* deliveries(
  open: () => Durable,
  next: (durable: Durable) => Promise<Delivery | undefined>,
): AsyncGenerator<Delivery, void> {
  const durable = open();
  for (let delivery = await next(durable); delivery; delivery = await next(durable)) yield delivery;
}
