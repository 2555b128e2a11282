import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CategoryDefinition, category, type EventStore, memoryStore } from '@interlock/event-store';
import { memoryBus } from '@interlock/messaging';
import { createScope, logger, type Scope, seededRandom, systemClock } from '@interlock/runtime';
import { createNoopMeter, trace } from '@opentelemetry/api';
import type { Assemble } from './assembly.ts';
import type { Peers } from './peers.ts';
import { wire } from './wiring.ts';

type Counted = { type: 'Counted' };
const counters = (stateVersion: number): CategoryDefinition<{ count: number }, Counted> => ({
  name: 'counter',
  stateVersion,
  initial: { count: 0 },
  evolve: ({ count }) => ({ count: count + 1 }),
});
const countOnce = (): readonly Counted[] => [{ type: 'Counted' }];
const cause = { correlationId: 'c', causes: [], caller: 'principals/p' };

const noPeers: Peers = {
  client: () => assert.fail('no peer is called'),
  connectTo: () => assert.fail('no peer is called'),
  keys: async () => ({ keys: [] }),
  check: async () => assert.fail('no peer is called'),
};

/** What surrounds one process of compute. */
const surroundings = (store: EventStore, scope: Scope) => {
  const random = seededRandom(1);
  return {
    name: 'compute' as const,
    replica: 'compute',
    store,
    bus: memoryBus({ clock: systemClock, random }),
    peers: noPeers,
    clock: systemClock,
    random,
    log: logger({ service: 'compute', clock: systemClock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    meter: createNoopMeter(),
    scope,
    authzTtlMs: 0,
    partitionCount: 1,
  };
};

test('a process that publishes no facts owns no work partition and serves no MessagingService', async () => {
  const store = memoryStore({ clock: systemClock });
  const scope = createScope();
  const { services } = await wire(surroundings(store, scope), undefined, async () => ({ services: [] }));
  assert.deepEqual(services, []);
  await scope.close();
  assert.equal(await store.head(), 0);
  assert.equal(await store.cursor('replicas'), 0);
});

test('G7: after its state version was raised, a service has complete lists while it is assembled', async () => {
  const store = memoryStore({ clock: systemClock });
  const old = category(store, counters(1));
  for (const id of ['a', 'b']) await old.transact(id, countOnce, cause);
  const scope = createScope();
  const seen: string[][] = [];
  const listed = async (counter: ReturnType<typeof category<{ count: number }, Counted>>) =>
    (await counter.listAll({})).map(({ id, state }) => `${id} ${state.count}`);
  let opened: ReturnType<typeof category<{ count: number }, Counted>> | undefined;
  const assemble: Assemble<undefined> = async ({ openCategory }) => {
    opened = await openCategory(counters(2));
    seen.push(await listed(opened));
    return { services: [], toFact: () => null };
  };
  await wire(surroundings(store, scope), undefined, assemble);
  assert.deepEqual(seen, [['a 1', 'b 1']]);

  // The older release runs too, and writes only rows of its own version.
  await old.transact('a', countOnce, cause);
  await old.transact('c', countOnce, cause);
  assert.ok(opened);
  while ((await listed(opened)).join() !== 'a 2,b 1,c 1') await systemClock.sleep(10);
  await scope.close();
  assert.equal(await store.cursor('rows/counter_v2'), await store.head(), 'the next start has nothing to do');
});
