import assert from 'node:assert/strict';
import { duplexPair } from 'node:stream';
import { test } from 'node:test';
import { systemClock } from '@interlock/runtime';
import { diskName } from '../test-disk-host.ts';
import { ownBytes } from './budget.ts';
import { NbdDoor } from './door.ts';
import type { Export } from './export.ts';
import { exportNameOf } from './negotiation.ts';
import { TestNbdClient } from './test-nbd-client.ts';
import { command, commandFlag, optionReply } from './wire.ts';

const limit = { timeout: 30_000 };
const mib = 1_048_576;
/** Requests that a connection may have in progress. */
const requests = 128;

/** A client of a door whose disk does what `disk` says. */
const start = async (disk: Pick<Export, 'read' | 'write'>, isStructured: boolean) => {
  const opened: Export = {
    ...disk,
    name: diskName,
    isReadOnly: false,
    ending: new AbortController().signal,
    size: () => 1_024 * mib,
    performNow: () => false,
    discard: async () => undefined,
    extents: async () => [],
    flush: async () => undefined,
    confirm: () => undefined,
    release: () => undefined,
  };
  const exports = { open: async () => opened, names: async () => [] };
  const door = new NbdDoor({ exports, clock: systemClock, logError: assert.fail });
  const [stream, server] = duplexPair();
  const served = door.serve(server);
  const client = await new TestNbdClient(stream).greet();
  const name = exportNameOf(diskName, 'token');
  if (isStructured) await client.structured(name);
  assert.equal((await client.go(name)).kind, optionReply.ack);
  return { client, server, served };
};

for (const isStructured of [true, false]) {
  const replies = isStructured ? 'structured' : 'simple';
  test(`long requests of a client that has left are given up (${replies} replies)`, limit, async () => {
    let calls = 0;
    const leave = (): void => {
      calls += 1;
      if (calls === requests) server.destroy();
    };
    const { client, server, served } = await start(
      {
        async *read(_, length, { allocate }) {
          leave();
          yield allocate(length);
        },
        write: async () => leave(),
      },
      isStructured,
    );
    // It takes its replies.
    client.release();
    client.stream.resume();
    for (let count = 0; count < requests; count += 1) {
      if (count % 2 === 0) client.send(command.read, 0, 32 * mib);
      else client.send(command.writeZeroes, 0, 512 * mib, { flags: commandFlag.noHole });
    }
    await served;
    // Each request may be in the middle of a step.
    assert.ok(calls <= 2 * requests, `${calls} steps`);
  });
}

test('zeros that wait for a slow disk hold no more memory than data', limit, async () => {
  const slow = { bytes: 0, mostBytes: 0 };
  const { client } = await start(
    {
      read: () => assert.fail('nothing reads'),
      async write(_, { length }) {
        slow.bytes += length;
        slow.mostBytes = Math.max(slow.mostBytes, slow.bytes);
        for (let turns = 0; turns < requests; turns += 1) await new Promise(setImmediate);
        slow.bytes -= length;
      },
    },
    true,
  );
  const flags = commandFlag.noHole;
  for (let count = 0; count < requests; count += 1) client.send(command.writeZeroes, 0, mib, { flags });
  for (let count = 0; count < requests; count += 1) assert.equal((await client.reply(0)).code, 0);
  client.send(command.disconnect, 0, 0);
  await client.ended();
  assert.ok(slow.mostBytes <= 8 * mib + ownBytes, `${slow.mostBytes} bytes`);
});
