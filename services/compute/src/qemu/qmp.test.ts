import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime/clock';
import { Qmp, QmpError, type QmpEvent, QmpSilence } from './qmp.ts';

const limitMs = 60_000;

/** A QMP connection and the other end of it, which answers each command. */
const connected = (answer: (command: { execute: string; id: number }) => object | undefined) => {
  const [own, server] = duplexPair();
  const events: QmpEvent[] = [];
  const qmp = new Qmp(own, systemClock, (event) => events.push(event));
  const send = (message: object): void => void server.write(`${JSON.stringify(message)}\r\n`);
  server.on('data', (bytes: Buffer) => {
    for (const line of bytes.toString().trim().split('\n')) {
      const response = answer(JSON.parse(line));
      if (response !== undefined) send({ ...response, id: JSON.parse(line).id });
    }
  });
  return { qmp, events, send, server };
};

test('QMP: commands get their own responses, and events arrive in order', async () => {
  const { qmp, events, send } = connected(({ execute }) =>
    execute === 'query-status' ? { return: { status: 'running' } } : { return: {} },
  );
  send({ QMP: {} });
  await qmp.open(limitMs);
  send({ event: 'STOP' });
  send({ event: 'SHUTDOWN', data: { guest: true } });
  assert.deepEqual(await qmp.execute('query-status', {}, limitMs), { status: 'running' });
  assert.deepEqual(events, [
    { event: 'STOP', data: {} },
    { event: 'SHUTDOWN', data: { guest: true } },
  ]);
});

test('QMP: a refusal names the command and never its arguments', async () => {
  const { qmp, send } = connected(({ execute }) =>
    execute === 'blockdev-add' ? { error: { class: 'GenericError', desc: 'no such export' } } : { return: {} },
  );
  send({ QMP: {} });
  await qmp.open(limitMs);
  const refused = await qmp.execute('blockdev-add', { export: 'secret' }, limitMs).catch((error: unknown) => error);
  assert.ok(refused instanceof QmpError);
  assert.equal(refused.message, 'QEMU refused blockdev-add: no such export');
});

test('QMP: a command fails after its time limit, and every command fails when the connection ends', async () => {
  const { qmp, send, server } = connected(({ execute }) =>
    execute === 'qmp_capabilities' ? { return: {} } : undefined,
  );
  send({ QMP: {} });
  await qmp.open(limitMs);
  await assert.rejects(
    qmp.execute('cont', {}, 1),
    (error) => error instanceof QmpSilence && /cont within 1 ms/.test(error.message),
  );
  const waiting = qmp.execute('query-status', {}, limitMs);
  server.destroy();
  await assert.rejects(waiting, QmpSilence);
  await qmp.ended;
  await assert.rejects(qmp.execute('quit', {}, limitMs), QmpSilence);
});

test('QMP: a QEMU that sends no greeting, or ends before it, fails the open', async () => {
  await assert.rejects(connected(() => undefined).qmp.open(1), /no QMP greeting/);
  const { qmp, server } = connected(() => undefined);
  server.destroy();
  await assert.rejects(qmp.open(limitMs), QmpSilence);
});
