import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@interlock/runtime';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { memoryBus } from './memory-bus.ts';
import { natsBus } from './nats-bus.ts';
import { streamProblem } from './stream-watch.ts';
import { ensureStreams, type StreamSettings } from './streams.ts';
import { subjectOf } from './subjects.ts';
import { openTestBus } from './test-bus.ts';
import { ACK_WAIT_MS, busContract, bytes, insist, newInterest, text, until } from './test-bus-contract.ts';
import { startTestNatsServer } from './test-nats-server.ts';

/** Creates or corrects streams, as an operator does. */
const createStreams = (url: string, settings: StreamSettings): Promise<void> =>
  ensureStreams({ servers: [url] }, settings, { clock: systemClock, patienceMs: 0 });

busContract('memory', async () => {
  const bus = memoryBus({ clock: systemClock, random: systemRandom, ackWaitMs: ACK_WAIT_MS });
  return {
    bus,
    interrupt: async () => {
      bus.disconnect();
      bus.reconnect();
    },
    close: () => bus.close(),
  };
});

busContract('NATS', async () => {
  const server = await startTestNatsServer();
  const bus = await natsBus({
    servers: [server.url],
    clock: systemClock,
    ackWaitMs: ACK_WAIT_MS,
    publishTimeoutMs: 1_000,
  });
  return {
    bus,
    createStream: (source) => createStreams(server.url, { services: [source] }),
    interrupt: async () => {
      await server.kill();
      await server.start();
    },
    close: async () => {
      await bus.close();
      await server.remove();
    },
  };
});

test('the NATS bus waits for a lost stream, says that an operator must create it, and recreates its durable', {
  timeout: 120_000,
}, async () => {
  const server = await startTestNatsServer();
  const interest = newInterest();
  const { source } = interest;
  const bus = await natsBus({
    servers: [server.url],
    clock: systemClock,
    publishTimeoutMs: 1_000,
    namespace: 'n1',
    own: { service: source, replicas: 1 },
  });
  const missing = `NATS has no stream n1_interlock_${source}; an operator creates and corrects streams: run the Job nats-streams`;
  try {
    await assert.rejects(bus.publish(interest.subject, 'a', bytes('a')), (error: Error) =>
      error.message.startsWith(missing),
    );
    await assert.rejects(bus.lastMessage(interest.subject), (error: Error) => error.message.startsWith(missing));
    await until(() => bus.stream?.().problem.startsWith(missing) === true);
    assert.equal(bus.stream?.().isVerified, false);
    await createStreams(server.url, { services: [source], namespace: 'n1' });
    await until(() => bus.stream?.().isVerified === true);
    await bus.publish(interest.subject, 'a', bytes('a'));
    const taken: string[] = [];
    const ending = new AbortController();
    const reading = (async () => {
      for await (const delivery of bus.subscribe({ ...interest, signal: ending.signal })) {
        taken.push(text(delivery));
        delivery.ack();
        if (text(delivery) === 'b') break;
      }
    })();
    await until(() => taken.length === 1);
    await server.kill();
    await server.wipe();
    await server.start();
    await createStreams(server.url, { services: [source], namespace: 'n1' });
    await insist(() => bus.publish(interest.subject, 'b', bytes('b')));
    await reading;
    assert.deepEqual(taken, ['a', 'b']);
  } finally {
    await bus.close();
    await server.remove();
  }
});

test('a stream with sources, republishing or too few copies is reported, and ensureStreams corrects it', async () => {
  const server = await startTestNatsServer();
  const connection = await connect({ servers: server.url });
  const { source, subject } = newInterest();
  const name = `interlock_${source}`;
  await createStreams(server.url, { services: [source, 'other'] });
  const bus = await natsBus({ servers: [server.url], clock: systemClock, own: { service: source, replicas: 1 } });
  const change = async (config: object): Promise<void> => {
    const answer = await connection.request(`$JS.API.STREAM.UPDATE.${name}`, JSON.stringify(config));
    assert.equal(Object(answer.json()).error, undefined);
  };
  try {
    await until(() => bus.stream?.().isVerified === true);
    assert.deepEqual(bus.stream?.(), { copies: 1, copiesWanted: 1, problem: '', isVerified: true });
    const base = { name, subjects: [`interlock.${source}.*`] };
    await change({ ...base, republish: { src: `interlock.${source}.1`, dest: 'interlock.elsewhere.1' } });
    const { streams } = await jetstreamManager(connection);
    const expected = { name, subject: `interlock.${source}.*`, copies: 3 };
    assert.match(
      streamProblem(await streams.info(name), expected),
      /is republished, is configured for 1 copies instead of 3/,
    );
    await change({ ...base, sources: [{ name: 'interlock_other' }] });
    assert.match(streamProblem(await streams.info(name), expected), /has sources/);
    await createStreams(server.url, { services: [source, 'other'] });
    const { config } = await streams.info(name);
    assert.deepEqual([config.sources, config.republish], [undefined, undefined]);
    await bus.publish(subject, 'a', bytes('a'));
  } finally {
    await Promise.all([bus.close(), connection.close()]);
    await server.remove();
  }
});

test('an error of an unreachable or paused NATS server names its address, without the login', async () => {
  const server = await startTestNatsServer();
  const url = server.url.replace('//', '//user:secret@');
  const bus = await natsBus({ servers: [url], clock: systemClock, publishTimeoutMs: 200 });
  const { host } = new URL(url);
  const { source, subject } = newInterest();
  await createStreams(server.url, { services: [source] });
  const asked = () => Promise.all([bus.lastMessage(subject), bus.publish(subject, 'a', bytes('a'))]);
  try {
    await server.pause();
    // One after the other: which of two timeouts of the same length comes first is not defined.
    await assert.rejects(bus.lastMessage(subject), { message: `NATS (${host}) did not respond within 200 ms` });
    const late = { message: 'JetStream did not acknowledge a message within 200 ms' };
    await assert.rejects(bus.publish(subject, 'a', bytes('a')), late);
    assert.equal(bus.outage?.(), undefined, 'a paused server is no lost connection');
    await server.kill();
    await until(() => !bus.isConnected());
    // Known at once; a publish would notice only after its acknowledgement timeout.
    assert.match(String(bus.outage?.()?.error), new RegExp(`NATS is not reachable at ${host}`));
    await assert.rejects(asked(), { message: `NATS is not reachable at ${host}` });
    await server.start();
    await until(() => bus.isConnected());
    assert.equal(bus.outage?.(), undefined);
  } finally {
    await bus.close();
    await server.remove();
  }
});

test('unacknowledged messages fail when the client or the server ends the connection', {
  timeout: 30_000,
}, async () => {
  const server = await startTestNatsServer();
  // Longer than the test: messages fail because of the connection.
  const open = () => natsBus({ servers: [server.url], clock: systemClock, publishTimeoutMs: 3_600_000 });
  const [cut, closed] = [await open(), await open()];
  try {
    const { source, subject } = newInterest();
    await createStreams(server.url, { services: [source] });
    for (const bus of [cut, closed]) await bus.publish(subject, randomUUID(), bytes('a'));
    await server.pause();
    const [lost, ended] = [cut, closed].map((bus) =>
      assert.rejects(
        bus.publish(subject, randomUUID(), bytes('b')),
        /the connection to NATS was lost|NATS is not reachable/,
      ),
    );
    await new Promise(setImmediate);
    await closed.close();
    await ended;
    await server.kill();
    await lost;
  } finally {
    await Promise.all([cut.close(), closed.close()]);
    await server.remove();
  }
});

test('a stream larger than the free space is refused with the setting to lower; a smaller one is created', async () => {
  const server = await startTestNatsServer();
  const { source } = newInterest();
  const create = (bytesMax: number) => createStreams(server.url, { services: [source], bytesMax });
  try {
    await assert.rejects(create(2 ** 52), /no room for stream .* lower NATS_STREAM_BYTES_MAX/);
    await create(16 * 1024 ** 2);
  } finally {
    await server.remove();
  }
});

test('a test bus deletes its own streams and no others when it closes', async () => {
  const server = await startTestNatsServer();
  const [one, other] = [await openTestBus(['src'], server.url), await openTestBus(['src'], server.url)];
  const looking = await connect({ servers: server.url });
  const streamsCount = async () => {
    const { streams } = await jetstreamManager(looking);
    return (await streams.names().next()).length;
  };
  try {
    const subject = subjectOf('src', 0);
    await one.publish(subject, 'a', bytes('a'));
    await other.publish(subject, 'a', bytes('a'));
    assert.equal(await streamsCount(), 2);
    await one.close();
    assert.equal(await streamsCount(), 1);
    assert.ok(await other.lastMessage(subject));
    await other.close();
    assert.equal(await streamsCount(), 0);
  } finally {
    await looking.close();
    await server.remove();
  }
});
