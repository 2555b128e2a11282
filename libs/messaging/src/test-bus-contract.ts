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

/** A bus under test, and what befalls it. */
export interface BusHarness {
  readonly bus: Bus;
  /** Creates the stream of a source, where the bus needs one. */
  createStream?(source: string): Promise<void>;
  /** Cuts the connection (the real server is killed) and brings it back with what it had. */
  interrupt(): Promise<void>;
  close(): Promise<void>;
}

/** Short, so that a test of redelivery takes no longer. */
export const ACK_WAIT_MS = 400;
let sources = 0;

/** A source, partition and durable of its own for each test. */
export const newInterest = () => {
  sources += 1;
  const source = `source-${process.pid}-${sources}`;
  return { source, subject: subjectOf(source, 0), stream: streamOf(source), durable: 'reader' };
};
export const text = (delivery: Delivery): string => Buffer.from(delivery.bytes).toString();
export const bytes = (word: string): Uint8Array => Buffer.from(word);

/** Takes deliveries until `enough` says so, then ends the subscription. Everything taken is acknowledged by the caller. */
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

/** Runs `work` in a context, in a process that keeps contexts for it alone. */
const inContext = async (running: Context, work: () => Promise<void>): Promise<void> => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  try {
    await context.with(running, work);
  } finally {
    context.disable();
  }
};

/** What every bus keeps to: run over each implementation. */
export const busContract = (name: string, open: () => Promise<BusHarness>): void => {
  describe(`${name} bus`, () => {
    let harness: BusHarness;
    let bus: Bus;
    before(async () => {
      harness = await open();
      bus = harness.bus;
    });
    after(() => harness.close());
    const ready = async () => {
      const interest = newInterest();
      await harness.createStream?.(interest.source);
      return interest;
    };

    test('G10: the trace context of the publisher arrives with its message', async () => {
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

    test('delivers what was published before the first subscription, in order', async () => {
      const interest = await ready();
      await Promise.all(['a', 'b', 'c'].map((word) => bus.publish(interest.subject, word, bytes(word))));
      assert.deepEqual(await take(bus, interest, ackUpTo(3)), ['a', 'b', 'c']);
    });

    test('a durable continues after what it acknowledged; another one starts at the beginning', async () => {
      const interest = await ready();
      for (const word of ['a', 'b', 'c']) await bus.publish(interest.subject, word, bytes(word));
      assert.deepEqual(await take(bus, interest, ackUpTo(2)), ['a', 'b']);
      await bus.publish(interest.subject, 'd', bytes('d'));
      // What was pulled and not looked at comes again only after the acknowledgement wait, so the order may differ.
      const rest = await take(bus, interest, ackUpTo(2));
      assert.deepEqual(rest.toSorted(), ['c', 'd']);
      assert.deepEqual(await take(bus, { ...interest, durable: 'other' }, ackUpTo(4)), ['a', 'b', 'c', 'd']);
    });

    test('partitions are apart', async () => {
      const interest = await ready();
      await bus.publish(subjectOf(interest.source, 1), 'x', bytes('x'));
      await bus.publish(interest.subject, 'a', bytes('a'));
      assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['a']);
    });

    test('returns the newest message of a subject, or undefined', async () => {
      const { subject } = await ready();
      assert.equal(await bus.lastMessage(subject), undefined);
      await bus.publish(subject, 'a', bytes('a'));
      await bus.publish(subject, 'b', bytes('b'));
      const last = await bus.lastMessage(subject);
      assert.equal(last && Buffer.from(last).toString(), 'b');
    });

    test('a message id is taken once', async () => {
      const interest = await ready();
      for (const id of ['a', 'a', 'b']) await bus.publish(interest.subject, id, bytes(id));
      assert.deepEqual(await take(bus, interest, ackUpTo(2)), ['a', 'b']);
    });

    test('refused for now, it comes again and counts', async () => {
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

    test('refused for good, it never comes again', async () => {
      const interest = await ready();
      for (const word of ['a', 'b']) await bus.publish(interest.subject, word, bytes(word));
      const taken = await take(bus, interest, (delivery, count) => {
        if (count === 1) delivery.refuse('a test');
        else delivery.ack();
        return count === 2;
      });
      assert.deepEqual(taken, ['a', 'b']);
      // Longer than an acknowledgement is waited for: what was not refused for good would come before it.
      await systemClock.sleep(2 * ACK_WAIT_MS);
      await bus.publish(interest.subject, 'c', bytes('c'));
      assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['c']);
    });

    test('taken by a receiver that died, it comes again', async () => {
      const interest = await ready();
      await bus.publish(interest.subject, 'a', bytes('a'));
      await take(bus, interest, () => true);
      assert.deepEqual(await take(bus, interest, ackUpTo(1)), ['a']);
    });

    test('an interruption is a new session; what was published stays, subscriptions go on', {
      timeout: 30_000,
    }, async () => {
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
      await harness.interrupt();
      await until(() => bus.session() > session);
      await insist(() => bus.publish(interest.subject, 'b', bytes('b')));
      await reading;
      ending.abort();
      assert.deepEqual(taken, ['a', 'b']);
      const last = await bus.lastMessage(interest.subject);
      assert.equal(last && Buffer.from(last).toString(), 'b');
    });
  });
};

export const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await systemClock.sleep(5);
};
/** Publishing may fail while the server comes up; a publisher tries again. */
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
