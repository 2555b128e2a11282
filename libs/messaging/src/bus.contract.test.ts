import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock, systemRandom } from '@interlock/runtime';
import { memoryBus } from './memory-bus.ts';
import { natsBus } from './nats-bus.ts';
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
  timeout: 30_000,
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
