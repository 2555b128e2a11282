import type { Bus, Delivery, Interest } from '@interlock/messaging';
import type { VirtualClock } from '@interlock/runtime';
import type { Gate } from './gate.ts';

/** How long a process waits for an acknowledgement of a bus it is cut off from. */
const ACK_TIMEOUT_MS = 5_000;

/** The connection of one process to the bus. */
export interface BusLink {
  readonly clock: VirtualClock;
  readonly gate: Gate;
  /** Whether the process and the bus are cut off from each other now. */
  readonly isCut: () => boolean;
  /** Rises when the connection of the process was interrupted. */
  readonly interruptions: () => number;
  /** Aborted when the process has ended: the bus then has one subscriber less. */
  readonly gone: AbortSignal;
}

/** The bus for one process, over its own connection. */
export const busOver = (inner: Bus, link: BusLink): Bus => {
  const { clock, gate, isCut } = link;
  const unreachable = async (): Promise<never> => {
    await clock.sleep(ACK_TIMEOUT_MS);
    throw new Error('the bus did not acknowledge');
  };
  const publish: Bus['publish'] = async (subject, messageId, bytes) => {
    if (isCut()) return unreachable();
    await inner.publish(subject, messageId, bytes);
    if (isCut()) return unreachable();
  };
  /** If an acknowledgement does not arrive, the bus redelivers after its own wait. */
  const whileConnected = (delivery: Delivery): Delivery => ({
    bytes: delivery.bytes,
    context: delivery.context,
    deliveryCount: delivery.deliveryCount,
    ack: () => {
      if (!isCut()) delivery.ack();
    },
    nak: (delayMs) => {
      if (!isCut()) delivery.nak(delayMs);
    },
    refuse: (reason) => {
      if (!isCut()) delivery.refuse(reason);
    },
    working: () => {
      if (!isCut()) delivery.working();
    },
  });

  return {
    publish: (subject, messageId, bytes) => {
      const publishing = publish(subject, messageId, bytes);
      return gate.isOpen() && !isCut() ? publishing : gate.through(publishing);
    },
    lastMessage: (subject) => gate.through(isCut() ? unreachable() : inner.lastMessage(subject)),
    subscribe: (interest) => reaching(inner, interest, link, whileConnected),
    tail: (subject, signal) => tailOf(inner, subject, signal, link),
    session: () => inner.session() + link.interruptions(),
    // The bus belongs to the world and outlives the process.
    close: async () => undefined,
  };
};

/** The deliveries of the bus that reach the process. */
async function* reaching(
  inner: Bus,
  interest: Interest,
  { gate, gone, isCut }: BusLink,
  whileConnected: (delivery: Delivery) => Delivery,
): AsyncGenerator<Delivery, void> {
  const ending = new AbortController();
  const end = (): void => ending.abort();
  interest.signal.addEventListener('abort', end);
  gone.addEventListener('abort', end);
  if (interest.signal.aborted || gone.aborted) end();
  const deliveries = inner.subscribe({ ...interest, signal: ending.signal })[Symbol.asyncIterator]();
  for (;;) {
    const next = await deliveries.next();
    await gate.held();
    if (next.done === true) return;
    if (!isCut()) yield whileConnected(next.value);
  }
}

/** The messages of a tail that reach the process: nothing keeps those of a cut for it. */
const tailOf = (
  inner: Bus,
  subject: string,
  signal: AbortSignal,
  { gate, gone, isCut }: BusLink,
): ReturnType<Bus['tail']> => {
  // Subscribed at once, as the bus does.
  const messages = inner.tail(subject, AbortSignal.any([signal, gone]));
  return (async function* () {
    for await (const message of messages) {
      await gate.held();
      if (!isCut()) yield message;
    }
  })();
};
