import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamName } from '@interlock/event-store';
import fc from 'fast-check';
import type { Consumer } from './consumer.ts';
import type { Relay } from './relay.ts';
import { subjectOf } from './subjects.ts';
import { copyHandler, testWorld, type World } from './test-world.ts';

const STREAMS: readonly StreamName[] = ['disk-1', 'disk-2', 'disk-3', 'disk-4', 'disk-5'];
const PARTITIONS = 2;

type Step =
  | { readonly kind: 'append'; readonly stream: number; readonly count: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'forget'; readonly partition: number; readonly count: number }
  | { readonly kind: 'crashRelay' | 'crashConsumer' | 'addRelay' | 'addConsumer' | 'disconnect' | 'reconnect' };

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        stream: fc.nat(4),
        count: fc.integer({ min: 1, max: 4 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 4_000 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('forget' as const),
        partition: fc.nat(1),
        count: fc.integer({ min: 1, max: 5 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom('crashRelay', 'crashConsumer', 'addRelay', 'addConsumer', 'disconnect', 'reconnect'),
      }),
    },
  ),
  { minLength: 5, maxLength: 40 },
);

const probability = fc.constantFrom(0, 0.1, 0.4);
const faults = fc.record({
  loseAfterAck: probability,
  loseAck: probability,
  duplicate: probability,
  delay: probability,
  reorder: probability,
  refuse: probability,
  storeAndFail: probability,
  feed: probability,
  handler: probability,
});

/** The running parts; a crashed one is replaced by a successor over the same store. */
interface Parts {
  readonly relays: Relay[];
  readonly consumers: Consumer[];
}

const carryOut = async (world: World, parts: Parts, startConsumer: () => Consumer, step: Step): Promise<void> => {
  switch (step.kind) {
    case 'append':
      return world.append(
        STREAMS[step.stream] ?? 'disk-1',
        ...Array.from({ length: step.count }, () => 'Changed'),
        'Secret',
      );
    case 'pass':
      return world.clock.pass(step.ms);
    case 'forget':
      world.bus.forget(subjectOf('src', step.partition), step.count);
      return;
    case 'crashRelay':
      await stop(world, parts.relays.shift());
      parts.relays.push(world.startRelay());
      return;
    case 'crashConsumer':
      await stop(world, parts.consumers.shift());
      parts.consumers.push(startConsumer());
      return;
    case 'addRelay':
      if (parts.relays.length < 3) parts.relays.push(world.startRelay());
      return;
    case 'addConsumer':
      if (parts.consumers.length < 3) parts.consumers.push(startConsumer());
      return;
    case 'disconnect':
      return world.bus.disconnect();
    case 'reconnect':
      return world.bus.reconnect();
  }
};

/** Stopping may need time to pass (a retry in progress), so the clock continues meanwhile. */
const stop = async (world: World, part: { stop(): Promise<void> } | undefined): Promise<void> => {
  let isDone = part === undefined;
  const stopping = part?.stop().then(() => {
    isDone = true;
  });
  await world.clock.until(() => isDone);
  await stopping;
};

test('under any faults and crashes, each fact takes effect exactly once, in the order of its stream (G7)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), faults, steps, async (seed, chances, plan) => {
      const world = testWorld(seed);
      Object.assign(world.bus.faults, chances);
      Object.assign(world.faults, chances);
      let handlerFails = chances.handler;
      const copy = copyHandler(world.sink);
      const startConsumer = () =>
        world.startConsumer(async (fact, context) => {
          if (handlerFails > 0 && world.random.fraction() < handlerFails / 2) {
            throw Object.assign(new Error('call failed'), { name: 'RpcFailure', code: 'UNAVAILABLE' });
          }
          return copy(fact, context);
        });
      const parts: Parts = { relays: [world.startRelay()], consumers: [startConsumer()] };
      for (const step of plan) {
        await carryOut(world, parts, startConsumer, step);
        for (const stream of STREAMS) {
          const [told, copied] = await Promise.all([world.told(stream), world.copied(stream)]);
          assert.deepEqual(
            copied,
            told.slice(0, copied.length),
            `the copies of ${stream} are the first of its published facts`,
          );
        }
      }
      Object.assign(world.bus.faults, { loseAfterAck: 0, loseAck: 0, duplicate: 0, delay: 0, reorder: 0 });
      Object.assign(world.faults, { refuse: 0, storeAndFail: 0, feed: 0 });
      handlerFails = 0;
      world.bus.reconnect();
      await world.clock.until(() => world.isComplete(STREAMS), 120_000);
      const head = await world.source.head();
      await world.clock.until(async () => (await world.source.cursor('relay')) === head, 120_000);
      for (const part of [...parts.relays, ...parts.consumers]) await stop(world, part);
      for (let partition = 0; partition < PARTITIONS; partition += 1) {
        assert.ok((await world.sink.cursor(`consumer:src:${partition}`)) <= head);
      }
    }),
    { numRuns: Number(process.env.DELIVERY_RUNS ?? 60) },
  );
});
