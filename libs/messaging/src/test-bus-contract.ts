import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type SpanContext,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import type { Bus, Delivery } from './bus.ts';
import { streamOf, subjectOf } from './subjects.ts';

/** A bus under test, and its faults. */
export interface BusHarness {
  readonly bus: Bus;
  /** Creates the stream of a source, if the bus needs one. */
  createStream?(source: string): Promise<void>;
  /** Cuts the connection (the real server is killed) and restores it with all stored data. */
  interrupt(): Promise<void>;
  close(): Promise<void>;
}

/** Short, because tests of redelivery wait for it. */
export const ACK_WAIT_MS = 400;
let sources = 0;

/** A new source, partition and durable for each test. */
export const newInterest = () => {
  sources += 1;
  const source = `source-${process.pid}-${sources}`;
  return { source, subject: subjectOf(source, 0), stream: streamOf(source), durable: 'reader' };
};
export const text = (delivery: Delivery): string => Buffer.from(delivery.bytes).toString();
export const bytes = (word: string): Uint8Array => Buffer.from(word);

/** Receives messages until `onEach` returns true, then ends the subscription. `onEach` acknowledges them. */
const take = async (
  bus: Bus,
  interest: { stream: string; subject: string; durable: string },
  onEach: (delivery: Delivery, taken: number) => boolean,
): Promise<readonly string[]> => {
  const ending = new AbortController();
  const taken: string[] = [];
  for await (const delivery of bus.subscribe({ ...interest, signal: ending.signal })) {
    taken.push(text(delivery));
    if (onEach(delivery, taken.length)) break;
  }
  ending.abort();
  return taken;
};
const ackUpTo = (count: number) => (delivery: Delivery, taken: number) => {
  delivery.ack();
  return taken === count;
};

/** Runs `work` in a context; the context manager is enabled only meanwhile. */
const inContext = async (running: Context, work: () => Promise<void>): Promise<void> => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  try {
    await context.with(running, work);
  } finally {
    context.disable();
  }
};

export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await systemClock.sleep(5);
};
/** Retries `work`: publishing may fail while the server starts. */
export const insist = async (work: () => Promise<void>): Promise<void> => {
  for (let failures = 0; ; failures += 1) {
    try {
      return await work();
    } catch (error) {
      if (failures > 50) throw error;
      await systemClock.sleep(50);
    }
  }
};

/** The bus under test, once it is open. */
interface OpenBus {
  readonly bus: Bus;
  /** A new source, partition and durable, with its stream. */
  ready(): Promise<ReturnType<typeof newInterest>>;
  interrupt(): Promise<void>;
}

/** Which messages a subscription receives. */
const deliveryTests = (opened: () => OpenBus): void => {
  test('delivers messages published before the first subscription, in order', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    await Promise.all(['a', 'b', 'c'].map((word) => bus.publish(interest.subject, word, bytes(word))));
    assert.deepEqual(await take(bus, interest, ackUpTo(3)), ['a', 'b', 'c']);
  });

  test('a durable continues after its acknowledged messages; another durable starts at the beginning', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    for (const word of ['a', 'b', 'c']) await bus.publish(interest.subject, word, bytes(word));
    assert.deepEqual(await take(bus, interest, ackUpTo(2)), ['a', 'b']);
    await bus.publish(interest.subject, 'd', bytes('d'));
    // A message that was fetched and not handled is redelivered after the acknowledgement wait, so the order may differ.
    const rest = await take(bus, interest, ackUpTo(2));
    assert.deepEqual(rest.toSorted(), ['c', 'd']);
    assert.deepEqual(await take(bus, { ...interest, durable: 'other' }, ackUpTo(4)), ['a', 'b', 'c', 'd']);
  });

  test('a subscription receives only messages of its partition', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    await bus.publish(subjectOf(interest.source, 1), 'x', bytes('x'));
    await bus.publish(interest.subject, 'a', bytes('a'));
    assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['a']);
  });

  test('returns the newest message of a subject, or undefined', async () => {
    const { bus, ready } = opened();
    const { subject } = await ready();
    assert.equal(await bus.lastMessage(subject), undefined);
    await bus.publish(subject, 'a', bytes('a'));
    await bus.publish(subject, 'b', bytes('b'));
    const last = await bus.lastMessage(subject);
    assert.equal(last && Buffer.from(last).toString(), 'b');
  });

  test('a repeated message id is delivered once', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    for (const id of ['a', 'a', 'b']) await bus.publish(interest.subject, id, bytes(id));
    assert.deepEqual(await take(bus, interest, ackUpTo(2)), ['a', 'b']);
  });
};

/** What becomes of a message that its receiver acknowledges, refuses or forgets. */
const acknowledgementTests = (opened: () => OpenBus): void => {
  test('a nak redelivers the message with a higher delivery count', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    await bus.publish(interest.subject, 'a', bytes('a'));
    const counts: number[] = [];
    await take(bus, interest, (delivery, taken) => {
      counts.push(delivery.deliveryCount);
      if (taken === 1) delivery.nak(10);
      else delivery.ack();
      return taken === 2;
    });
    assert.deepEqual(counts, [1, 2]);
  });

  test('a refused message is never redelivered', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    for (const word of ['a', 'b']) await bus.publish(interest.subject, word, bytes(word));
    const taken = await take(bus, interest, (delivery, count) => {
      if (count === 1) delivery.refuse('a test');
      else delivery.ack();
      return count === 2;
    });
    assert.deepEqual(taken, ['a', 'b']);
    // Longer than the acknowledgement wait: a redelivered message would arrive before 'c'.
    await systemClock.sleep(2 * ACK_WAIT_MS);
    await bus.publish(interest.subject, 'c', bytes('c'));
    assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['c']);
  });

  test('a message that its receiver did not acknowledge is redelivered', async () => {
    const { bus, ready } = opened();
    const interest = await ready();
    await bus.publish(interest.subject, 'a', bytes('a'));
    await take(bus, interest, () => true);
    assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['a']);
  });
};

/** Tails, sessions, and interruptions of the connection. */
const interruptionTests = (opened: () => OpenBus): void => {
  test('a tail gets messages in order from when it was opened, each once, and continues after an interruption', {
    timeout: 30_000,
  }, async () => {
    const { bus, ready, interrupt } = opened();
    const interest = await ready();
    await bus.publish(interest.subject, 'before', bytes('before'));
    const ending = new AbortController();
    const taken: string[] = [];
    const [tail, other] = [bus.tail(interest.subject, ending.signal), bus.tail(interest.subject, ending.signal)];
    const reading = (async () => {
      for await (const message of tail) taken.push(Buffer.from(message.bytes).toString());
    })();
    await bus.publish(subjectOf(interest.source, 1), 'x', bytes('x'));
    for (const word of ['a', 'b']) await bus.publish(interest.subject, word, bytes(word));
    await until(() => taken.length === 2);
    const session = bus.session();
    await interrupt();
    await until(() => bus.session() > session);
    for (let n = 0; taken.length === 2; n += 1) {
      // The subscription may be on its way to the server.
      await insist(() => bus.publish(interest.subject, `c${n}`, bytes('c')));
      await systemClock.sleep(5);
    }
    assert.deepEqual(taken.slice(0, 3), ['a', 'b', 'c']);
    ending.abort();
    await reading;
    for await (const message of other) assert.fail(`an ended tail has no message: ${message.bytes}`);
  });

  test('an interruption starts a new session; published messages stay and subscriptions continue', {
    timeout: 30_000,
  }, async () => {
    const { bus, ready, interrupt } = opened();
    const interest = await ready();
    await bus.publish(interest.subject, 'a', bytes('a'));
    const session = bus.session();
    const ending = new AbortController();
    const taken: string[] = [];
    const reading = (async () => {
      for await (const delivery of bus.subscribe({ ...interest, signal: ending.signal })) {
        if (!taken.includes(text(delivery))) taken.push(text(delivery));
        delivery.ack();
        if (taken.length === 2) break;
      }
    })();
    await until(() => taken.length === 1);
    await interrupt();
    await until(() => bus.session() > session);
    await insist(() => bus.publish(interest.subject, 'b', bytes('b')));
    await reading;
    ending.abort();
    assert.deepEqual(taken, ['a', 'b']);
    const last = await bus.lastMessage(interest.subject);
    assert.equal(last && Buffer.from(last).toString(), 'b');
  });
};

/** Trace contexts travel with messages. */
const traceTests = (opened: () => OpenBus): void => {
  test('G10: the trace context of the publisher arrives with its message', async () => {
    const { bus, ready } = opened();
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    try {
      const interest = await ready();
      const published = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: TraceFlags.SAMPLED };
      const running = trace.setSpanContext(ROOT_CONTEXT, published);
      await inContext(running, () => bus.publish(interest.subject, 'a', bytes('a')));
      let received: SpanContext | undefined;
      await take(bus, interest, (delivery) => {
        received = trace.getSpanContext(delivery.context);
        delivery.ack();
        return true;
      });
      assert.deepEqual([received?.traceId, received?.spanId], [published.traceId, published.spanId]);
      assert.equal(received?.isRemote, true);
    } finally {
      propagation.disable();
    }
  });

  test('G10: the trace context of the publisher arrives with the message of a tail', async () => {
    const { bus, ready } = opened();
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    const ending = new AbortController();
    try {
      const interest = await ready();
      const tail = bus.tail(interest.subject, ending.signal);
      const published = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: TraceFlags.SAMPLED };
      const running = trace.setSpanContext(ROOT_CONTEXT, published);
      await inContext(running, () => bus.publish(interest.subject, 'a', bytes('a')));
      for await (const { context: received } of tail) {
        assert.equal(trace.getSpanContext(received)?.spanId, published.spanId);
        break;
      }
    } finally {
      ending.abort();
      propagation.disable();
    }
  });
};

/** The contract of a bus, run for each implementation. */
export const busContract = (name: string, open: () => Promise<BusHarness>): void => {
  describe(`${name} bus`, () => {
    let harness: BusHarness;
    before(async () => {
      harness = await open();
    });
    after(() => harness.close());
    const opened = (): OpenBus => ({
      bus: harness.bus,
      ready: async () => {
        const interest = newInterest();
        await harness.createStream?.(interest.source);
        return interest;
      },
      interrupt: () => harness.interrupt(),
    });
    for (const tests of [deliveryTests, acknowledgementTests, interruptionTests, traceTests]) tests(opened);
  });
};
