import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock, virtualClock } from '@interlock/runtime';
import { JetStreamApiError, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { acknowledgedPublishing } from './acknowledged.ts';
import { startTestNatsServer, type TestNatsServer } from './test-nats-server.ts';

const bytes = new Uint8Array([1, 2, 3]);
let server: TestNatsServer;
let connection: NatsConnection;

before(async () => {
  server = await startTestNatsServer();
  connection = await connect({ servers: server.url });
});
after(async () => {
  await connection?.close();
  await server?.remove();
});

/** A subscriber that receives messages and acknowledges none. */
const silence = async (subject: string): Promise<void> => {
  connection.subscribe(subject);
  await connection.flush();
};

test('each publish gets its own result: stored, duplicate, refused with the reason, or without a stream', async () => {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'small', subjects: ['small.>'], max_msg_size: 100 });
  const publishing = acknowledgedPublishing(connection, { clock: systemClock, timeoutMs: 60_000 });
  const { publish } = publishing;
  const outcomes = await Promise.allSettled([
    publish('small.a', 'one', bytes),
    publish('small.a', 'large', new Uint8Array(200)),
    publish('small.a', 'one', bytes),
    publish('unknown.a', 'two', bytes),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
  );
  const [, tooLarge, , unheard] = outcomes as PromiseRejectedResult[];
  assert.ok(tooLarge?.reason instanceof JetStreamApiError);
  assert.match(String(tooLarge.reason), /message size exceeds maximum/);
  assert.match(String(unheard?.reason), /no stream for this subject/);
  const { state } = await manager.streams.info('small');
  assert.equal(state.messages, 1, 'a repeated message id is stored once');
  publishing.interrupted();
});

test('G7: a response that is no acknowledgement fails its message, and a later message is acknowledged', async () => {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'sound', subjects: ['sound.>'] });
  const answers = [new Uint8Array(), new TextEncoder().encode('no JSON'), new TextEncoder().encode('{}'), bytes];
  connection.subscribe('strange.>', { callback: (_, message) => void message.respond(answers.shift()) });
  await connection.flush();
  const publishing = acknowledgedPublishing(connection, { clock: systemClock, timeoutMs: 600_000 });
  for (const n of [...answers.keys()]) {
    await assert.rejects(publishing.publish('strange.a', String(n), bytes), /no acknowledgement of JetStream/);
  }
  await publishing.publish('sound.a', 'one', bytes);
  publishing.interrupted();
});

test('a publish without an acknowledgement fails after its own timeout', async () => {
  await silence('silent.>');
  const clock = virtualClock();
  const { publish } = acknowledgedPublishing(connection, { clock, timeoutMs: 5_000 });
  const ends: string[] = [];
  const note = (name: string) => (error: unknown) => {
    ends.push(`${name} ${clock.monotonicMs()}: ${error}`);
  };
  const startMs = clock.monotonicMs();
  const first = publish('silent.a', '1', bytes).catch(note('first'));
  await clock.pass(2_000);
  const second = publish('silent.a', '2', bytes).catch(note('second'));
  await clock.drive(Promise.all([first, second]));
  assert.deepEqual(ends, [
    `first ${startMs + 5_000}: Error: JetStream did not acknowledge a message within 5000 ms`,
    `second ${startMs + 7_000}: Error: JetStream did not acknowledge a message within 5000 ms`,
  ]);
});

test('a forbidden subject fails its publishes at once, and not those of other subjects', async () => {
  await silence('mute.>');
  const publishing = acknowledgedPublishing(connection, { clock: systemClock, timeoutMs: 600_000 });
  const [ours, others] = [publishing.publish('mute.a', '1', bytes), publishing.publish('mute.b', '2', bytes)];
  publishing.forbidden('mute.a', new Error('not permitted'));
  await assert.rejects(ours, /not permitted/);
  publishing.interrupted();
  await assert.rejects(others, /the connection to NATS was lost/);
});

test('a lost connection fails unacknowledged publishes at once, and a later publish succeeds', async () => {
  await silence('cut.>');
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'after', subjects: ['after.>'] });
  const publishing = acknowledgedPublishing(connection, { clock: systemClock, timeoutMs: 600_000 });
  const cut = publishing.publish('cut.a', '1', bytes);
  publishing.interrupted();
  await assert.rejects(cut, /the connection to NATS was lost/);
  await publishing.publish('after.a', '2', bytes);
  publishing.interrupted();
});
