import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadFeedRequest } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { memoryStore, StoreUnavailable } from '@interlock/event-store';
import { virtualClock } from '@interlock/runtime';
import { messagingApi } from './messaging-api.ts';
import { partitionOf } from './subjects.ts';
import { idleRelay, testWorld, toFact } from './test-world.ts';

const cause = { correlationId: 'c', causes: [], caller: 'p' };

const feedOf = (payloadBytes = 1) => {
  const world = testWorld();
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const api = messagingApi({
    service: 'src',
    store,
    toFact,
    consumers: [],
    relay: idleRelay,
    clock,
    log: world.log,
    partitionCount: 2,
  });
  const append = (index: number, type = 'Changed') =>
    store.commit(
      {
        appends: [
          {
            stream: `disk-${index}`,
            expected: 0,
            events: [{ type, schema: 1, data: { text: 'x'.repeat(payloadBytes) } }],
          },
        ],
      },
      cause,
    );
  const read = (request: Partial<ReadFeedRequest>) =>
    api.readFeed({ partition: 0, afterPosition: 0, limit: 0, partitionCount: 2, ...request });
  return { api, append, read };
};

test('ReadFeed returns a partition in pages, with every published fact and no unpublished event', async () => {
  const { append, read } = feedOf();
  const expected: number[] = [];
  for (let index = 1; index <= 60; index += 1) {
    await append(index, index % 5 === 0 ? 'Secret' : 'Changed');
    if (index % 5 !== 0 && partitionOf(`disk-${index}`, 2) === 1) expected.push(index);
  }
  const positions: number[] = [];
  let afterPosition = 0;
  for (;;) {
    const batch = await read({ partition: 1, afterPosition, limit: 4 });
    assert.deepEqual([batch.source, batch.partition, batch.previousPosition], ['src', 1, afterPosition]);
    assert.ok(batch.facts.length <= 4);
    if (batch.lastPosition === afterPosition) break;
    positions.push(...batch.facts.map(({ position }) => position));
    afterPosition = batch.lastPosition;
  }
  assert.deepEqual(positions, expected);
  assert.equal(afterPosition, 60);
});

test('a ReadFeed response stays below 1 MiB, except for a single larger fact', async () => {
  const { append, read } = feedOf(400_000);
  const ours = Array.from({ length: 20 }, (_, index) => index + 1).filter(
    (index) => partitionOf(`disk-${index}`, 2) === 0,
  );
  for (const index of ours) await append(index);
  const batch = await read({});
  assert.equal(batch.facts.length, 2);
  assert.equal(batch.lastPosition, 2);
  const large = feedOf(2_000_000);
  await large.append(ours[0] ?? 0);
  assert.equal((await large.read({})).facts.length, 1);
});

test('an invalid request is refused with the reason for its field', async () => {
  const { read } = feedOf();
  await assert.rejects(read({ partitionCount: 4 }), {
    code: 'INVALID_ARGUMENT',
    reason: 'INVALID_PARTITION',
    message: /^partition_count must be 2/,
  });
  for (const partition of [-1, 2, 0.5]) await assert.rejects(read({ partition }), { reason: 'INVALID_PARTITION' });
  for (const limit of [-1, 1_001]) await assert.rejects(read({ limit }), { reason: 'INVALID_LIMIT' });
  await assert.rejects(read({ afterPosition: -1 }), { reason: 'INVALID_POSITION' });
  const { api } = feedOf();
  await assert.rejects(api.listParkedFacts({ pageSize: -1, pageToken: '' }), { reason: 'PAGE_SIZE_INVALID' });
  // A larger page size counts as the maximum (AIP-158).
  assert.deepEqual((await api.listParkedFacts({ pageSize: 1_001, pageToken: '' })).parkedFacts, []);
  const refused = { code: 'INVALID_ARGUMENT', reason: 'PAGE_TOKEN_INVALID', metadata: { field: 'page_token' } };
  for (const pageToken of ['x', '\0', 'src-1', `src-${'0'.repeat(16)}\0`]) {
    await assert.rejects(api.listParkedFacts({ pageSize: 1, pageToken }), refused);
  }
  assert.deepEqual((await api.listParkedFacts({ pageSize: 1, pageToken: `src-${'0'.repeat(16)}` })).parkedFacts, []);
  for (const list of [api.listConsumers, api.listReplicas]) {
    await assert.rejects(list({ pageSize: 1, pageToken: 'consumers/unknown-0' }), refused);
  }
});

test('consumers are listed by source and partition, page by page, with gap and lag', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  let isHeld = true;
  const consumer = world.startConsumer(async () => {
    if (isHeld) throw Object.assign(new Error('not yet'), { name: 'RpcFailure', code: 'DEADLINE_EXCEEDED' });
    return {};
  });
  await world.append('disk-1', 'Created', 'Changed', 'Gone');
  await world.clock.pass(5_000);
  const api = messagingApi({
    service: 'dst',
    store: world.sink,
    toFact,
    consumers: [consumer],
    relay: idleRelay,
    clock: world.clock,
    log: world.log,
  });
  const first = await api.listConsumers({ pageSize: 1, pageToken: '' });
  const second = await api.listConsumers({ pageSize: 1, pageToken: first.nextPageToken });
  const all = [...first.consumers, ...second.consumers];
  assert.deepEqual(
    all.map(({ name }) => name),
    ['consumers/src-0', 'consumers/src-1'],
  );
  assert.equal(second.nextPageToken, '');
  const held = all[partitionOf('disk-1', 2)];
  assert.equal(held?.gap, 3);
  assert.ok(held.lagMs >= 4_900 && held.lagMs <= 5_000, `${held.lagMs}`);
  isHeld = false;
  await world.clock.until(() => consumer.status().every(({ gap }) => gap === 0));
  await Promise.all([relay.stop(), consumer.stop()]);
});

test('GetRelay reports since when and why nothing is published, and how many events wait, until the bus is back', async () => {
  const world = testWorld();
  const relay = world.startRelay();
  const { source: store, clock, log } = world;
  const problem = 'NATS has no stream interlock_src';
  const bus = { stream: () => ({ copies: 1, copiesWanted: 3, problem, isVerified: true }) };
  const api = messagingApi({ service: 'src', store, toFact, consumers: [], relay, bus, clock, log });
  const stream = { streamCopies: 1, streamCopiesWanted: 3, streamProblem: problem };
  await world.append('disk-1', 'Created', 'Changed');
  await clock.pass(100);
  const failing = 'SERVER_UNSPECIFIED';
  assert.deepEqual(await api.getRelay(), {
    position: 2,
    gap: 0,
    failingSince: undefined,
    problem: '',
    failing,
    ...stream,
  });
  world.bus.disconnect();
  const cutAt = clock.now();
  await world.append('disk-1', 'Changed');
  await clock.pass(120_000);
  const silent = await api.getRelay();
  assert.deepEqual([silent.position, silent.gap], [2, 1]);
  const failingSince = silent.failingSince?.getTime() ?? assert.fail('it fails');
  assert.ok(failingSince - cutAt < 2_000, `${failingSince - cutAt} ms after the cut`);
  assert.match(silent.problem, /./);
  assert.equal(silent.failing, 'BUS');
  const warnings = world.lines.filter((line) => line.includes('relay begins again'));
  assert.ok(warnings.length >= 2 && warnings.length <= 3, `${warnings.length} lines in two minutes`);
  world.bus.reconnect();
  await clock.pass(10_000);
  assert.deepEqual(await api.getRelay(), {
    position: 3,
    gap: 0,
    failingSince: undefined,
    problem: '',
    failing,
    ...stream,
  });
  assert.equal(world.lines.filter((line) => line.includes('relay publishes again')).length, 1);
  await relay.stop();
});

test('GetRelay reports STORE as the failing server if the relay cannot reach its store', async () => {
  const { source: store, clock, log } = testWorld();
  const error = new StoreUnavailable('the event store cannot be reached');
  const relay = { position: () => 0, outage: () => ({ since: clock.now(), failures: 1, error }) };
  const api = messagingApi({ service: 'src', store, toFact, consumers: [], relay, clock, log });
  assert.equal((await api.getRelay()).failing, 'STORE');
});

test('ListReplicas returns the known replicas of a service in pages', async () => {
  const { source: store, clock, log } = testWorld();
  const known = [
    { name: 'replicas/a', state: 'WORKING', shareCount: 3, goneTime: undefined },
    { name: 'replicas/b', state: 'GONE', shareCount: 0, goneTime: new Date(7) },
  ] as const;
  const base = { service: 'src', store, toFact, consumers: [], relay: idleRelay, clock, log };
  const api = messagingApi({ ...base, replicas: async () => known });
  const first = await api.listReplicas({ pageSize: 1, pageToken: '' });
  assert.deepEqual(first, { replicas: [known[0]], nextPageToken: 'replicas/a' });
  assert.deepEqual(await api.listReplicas({ pageSize: 1, pageToken: first.nextPageToken }), {
    replicas: [known[1]],
    nextPageToken: '',
  });
  await assert.rejects(api.listReplicas({ pageSize: -1, pageToken: '' }), { reason: 'PAGE_SIZE_INVALID' });
  assert.deepEqual((await messagingApi(base).listReplicas({ pageSize: 0, pageToken: '' })).replicas, []);
});

test('G6: stored events are read in pages, published or not, and fields that are not readable are withheld', async () => {
  const clock = virtualClock();
  const store = memoryStore({ clock });
  const readable = (category: string): readonly string[] => (category === 'disk' ? ['set', 'at'] : []);
  const { log } = testWorld();
  const api = messagingApi({ service: 'src', store, toFact, consumers: [], relay: idleRelay, clock, log, readable });
  const append = (stream: 'disk-1' | 'card-1', expected: number) =>
    store.commit(
      {
        appends: [
          { stream, expected, events: [{ type: 'Secret', schema: 2, data: { set: 's', wrap: 'c2VjcmV0', at: 7 } }] },
        ],
      },
      { ...cause, traceparent: '00-1' },
    );
  await append('disk-1', 0);
  await append('card-1', 0);
  await append('disk-1', 1);
  const first = await api.readEvents({ afterPosition: 0, pageSize: 2 });
  assert.deepEqual(
    first.events.map(({ position, stream, version, schema, data, withheld }) => ({
      ...{ position, stream, version, schema, data, withheld },
    })),
    [
      { position: 1, stream: 'disk-1', version: 1, schema: 2, data: { set: 's', at: 7 }, withheld: ['wrap'] },
      { position: 2, stream: 'card-1', version: 1, schema: 2, data: {}, withheld: ['at', 'set', 'wrap'] },
    ],
  );
  assert.deepEqual(first.events[0]?.meta, { ...cause, traceparent: '00-1' });
  assert.equal(first.headPosition, 3);
  const rest = await api.readEvents({ afterPosition: 2, pageSize: 0 });
  assert.deepEqual(
    rest.events.map(({ position }) => position),
    [3],
  );
  await assert.rejects(api.readEvents({ afterPosition: 4, pageSize: 0 }), { reason: 'FEED_ENDS_EARLIER' });
  await assert.rejects(api.readEvents({ afterPosition: -1, pageSize: 0 }), { reason: 'INVALID_POSITION' });
});
