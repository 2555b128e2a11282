import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@interlock/runtime';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { memoryBus } from './memory-bus.ts';
import { natsBus } from './nats-bus.ts';
import { openTestBus } from './test-bus.ts';
import { ACK_WAIT_MS, busContract, bytes, insist, newInterest, text, until } from './test-bus-contract.ts';
import { startTestNatsServer } from './test-nats-server.ts';

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

test('the NATS bus makes streams and durables again on a server that forgot everything', {
  timeout: 120_000,
}, async () => {
  const server = await startTestNatsServer();
  const bus = await natsBus({ servers: [server.url], clock: systemClock, publishTimeoutMs: 1_000, namespace: 'n1' });
  try {
    const interest = newInterest();
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
    await insist(() => bus.publish(interest.subject, 'b', bytes('b')));
    await reading;
    assert.deepEqual(taken, ['a', 'b']);
  } finally {
    await bus.close();
    await server.remove();
  }
});

test('a NATS server that is gone or silent is named, with where it was looked for, and without the login', async () => {
  const server = await startTestNatsServer();
  const url = server.url.replace('//', '//somebody:secret@');
  const bus = await natsBus({ servers: [url], clock: systemClock, publishTimeoutMs: 200 });
  const { host } = new URL(url);
  const { subject } = newInterest();
  const asked = () => Promise.all([bus.lastMessage(subject), bus.publish(subject, 'a', bytes('a'))]);
  try {
    await server.pause();
    await assert.rejects(asked(), { message: `NATS (${host}) did not answer within 200 ms` });
    assert.equal(bus.outage?.(), undefined, 'a server that fell silent is no lost connection');
    await server.kill();
    await until(() => !bus.isConnected());
    // Known at once, where a publish finds out when the time for its acknowledgement is over.
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

test('what a NATS server has not acknowledged is given up with its connection, whoever ends that', {
  timeout: 30_000,
}, async () => {
  const server = await startTestNatsServer();
  // Nobody waits that long: what ends here ends because of the connection.
  const open = () => natsBus({ servers: [server.url], clock: systemClock, publishTimeoutMs: 3_600_000 });
  const [cut, closed] = [await open(), await open()];
  try {
    const { subject } = newInterest();
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

test('a NATS server without room for a stream is named as that, and room is taken as soon as there is some', async () => {
  const server = await startTestNatsServer();
  const open = (streamBytesMax: number) => natsBus({ servers: [server.url], clock: systemClock, streamBytesMax });
  const [greedy, modest] = [await open(2 ** 52), await open(16 * 1024 ** 2)];
  try {
    const { subject } = newInterest();
    await assert.rejects(greedy.publish(subject, 'a', bytes('a')), /no room for stream .* lower NATS_STREAM_BYTES_MAX/);
    await modest.publish(subject, 'a', bytes('a'));
    assert.equal(Buffer.from((await modest.lastMessage(subject)) ?? []).toString(), 'a');
  } finally {
    await Promise.all([greedy.close(), modest.close()]);
    await server.remove();
  }
});

test('a test world takes its streams with it, and nobody else’s', async () => {
  const server = await startTestNatsServer();
  const [one, other] = [await openTestBus(server.url), await openTestBus(server.url)];
  const looking = await connect({ servers: server.url });
  const streamsCount = async () => {
    const { streams } = await jetstreamManager(looking);
    return (await streams.names().next()).length;
  };
  try {
    const { subject } = newInterest();
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
