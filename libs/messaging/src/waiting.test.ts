import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FactBatch } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { memoryStore } from '@interlock/event-store';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Bus, Delivery } from './bus.ts';
import { startConsumer } from './consumer.ts';
import { NO_EFFECT } from './handlers.ts';

/** Microtasks within one turn of the event loop: more than handling a message without effect takes. */
const stepsMax = 80;

test('G1, G7: a message that arrives at any moment while another is handled does not wait for a third one', async () => {
  for (let steps = 0; steps < stepsMax; steps += 1) {
    const clock = virtualClock();
    const random = seededRandom(steps);
    const deliveryOf = (batch: Parameters<typeof FactBatch.fromPartial>[0]): Delivery => ({
      bytes: FactBatch.encode(FactBatch.fromPartial({ source: 'src', partitionCount: 1, ...batch })).finish(),
      context: ROOT_CONTEXT,
      deliveryCount: 1,
      ack: () => {},
      nak: () => {},
      refuse: () => {},
      working: () => {},
    });
    const bus: Pick<Bus, 'subscribe'> = {
      async *subscribe() {
        yield deliveryOf({});
        for (let step = 0; step < steps; step += 1) await undefined;
        const facts = [{ position: 1, stream: 'disk-1', version: 1, type: 'Created', id: random.uuid() }];
        yield deliveryOf({ firstPosition: 1, lastPosition: 1, facts });
        await new Promise(() => {});
      },
    };
    const { promise: heard, resolve: hear } = Promise.withResolvers<string>();
    startConsumer({
      service: 'dst',
      source: 'src',
      categories: ['disk'],
      handlers: {
        Created: async () => {
          hear('heard');
          return NO_EFFECT;
        },
      },
      readFeed: () => Promise.reject(new Error('nothing is missing')),
      store: memoryStore({ clock }),
      bus: bus as Bus,
      clock,
      random,
      log: logger({ service: 'test', clock, write: () => {} }),
      tracer: trace.getTracer('test'),
      partitionCount: 1,
    });
    const waited = nextTurn().then(nextTurn).then(nextTurn);
    assert.equal(await Promise.race([heard, waited.then(() => 'still waits')]), 'heard', `after ${steps} steps`);
  }
});
