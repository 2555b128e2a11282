import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SeededRandom, seededRandom } from '@interlock/runtime';
import { type DiskHost, diskName, startDiskHost } from '../test-disk-host.ts';
import { exportNameOf } from './negotiation.ts';
import { TestNbdClient } from './test-nbd-client.ts';
import { command, option, optionReply } from './wire.ts';

const limit = { timeout: 120_000 };
const parent = 'subscriptions/s/resourceGroups/g';
const connections = 1_600;
const framesEach = 60;

const numberIn = (random: SeededRandom, end: number): number => Math.floor(random.fraction() * end);

/** These end a conversation: sent as often as others, they would leave seven frames of it. */
const endings: ReadonlySet<number> = new Set([option.abort, option.exportName]);
const pickOf = (random: SeededRandom, codes: Readonly<Record<string, number>>, ends: ReadonlySet<number>): number =>
  random.pick(Object.values(codes).filter((code) => !ends.has(code) || random.chance(0.1)));

/** A frame with some bytes changed, cut short, or followed by others. */
const damaged = (random: SeededRandom, frame: Buffer): Buffer => {
  const bytes = Buffer.from(frame);
  for (let changes = numberIn(random, 4); changes >= 0; changes -= 1) {
    bytes[numberIn(random, bytes.length)] = numberIn(random, 256);
  }
  const kind = random.fraction();
  if (kind < 0.1) return bytes.subarray(0, numberIn(random, bytes.length));
  return kind < 0.2 ? Buffer.concat([bytes, Buffer.from(random.bytes(numberIn(random, 40)))]) : bytes;
};

const optionFrame = (random: SeededRandom): Buffer => {
  const data = Buffer.from(random.bytes(numberIn(random, 60)));
  const head = Buffer.alloc(16);
  head.write('IHAVEOPT', 'latin1');
  head.writeUInt32BE(pickOf(random, option, endings), 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
};

const requestFrame = (random: SeededRandom): Buffer => {
  const head = Buffer.alloc(28);
  head.writeUInt32BE(0x2560_9513, 0);
  head.writeUInt16BE(numberIn(random, 32), 4);
  const kind = pickOf(random, command, new Set([command.disconnect]));
  head.writeUInt16BE(kind, 6);
  head.writeBigUInt64BE(BigInt(numberIn(random, 2 ** 31)), 16);
  const length = numberIn(random, 20_000);
  head.writeUInt32BE(length, 24);
  return kind === command.write ? Buffer.concat([head, Buffer.alloc(length)]) : head;
};

/** Sends damaged frames until the server ends the connection, then leaves. */
const abuse = async (host: DiskHost, token: string, random: SeededRandom): Promise<number> => {
  const stream = host.connectNbd();
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  stream.on('end', end).on('close', end).on('error', end).resume();
  const isNegotiating = random.chance(0.5);
  stream.write(Buffer.from([0, 0, 0, 3]));
  if (!isNegotiating) {
    const name = Buffer.from(exportNameOf(diskName, token));
    const go = Buffer.alloc(16 + 4 + name.length + 2);
    go.write('IHAVEOPT', 'latin1');
    go.writeUInt32BE(option.go, 8);
    go.writeUInt32BE(4 + name.length + 2, 12);
    go.writeUInt32BE(name.length, 16);
    name.copy(go, 20);
    stream.write(go);
  }
  let sent = 0;
  for (; sent < framesEach && !isOver; sent += 1) {
    const frame = isNegotiating ? optionFrame(random) : requestFrame(random);
    stream.write(random.chance(0.05) ? damaged(random, frame) : frame);
    if (sent % 4 === 3) await new Promise(setImmediate);
  }
  stream.destroy();
  return sent;
};

test('damaged options and requests affect only their own connection, and leak no memory', limit, async (t) => {
  const host = await startDiskHost();
  t.after(() => host.stop());
  const encryption = { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' } as const;
  await host.disks.createDisk({ parent, location: 'l', sku: 'PREMIUM_SSD', sizeGib: 1, diskId: 'd', encryption });
  const access = { name: diskName, accessLevel: 'WRITE', durationSeconds: 600 } as const;
  const { accessToken } = await host.disks.beginAccess(access);
  const random = seededRandom(7);
  let frames = 0;
  for (let done = 0; done < connections; done += 20) {
    const sent = await Promise.all(Array.from({ length: 20 }, () => abuse(host, accessToken, random)));
    frames += sent.reduce((sum, count) => sum + count, 0);
  }
  t.diagnostic(`${frames} frames on ${connections} connections`);

  // The largest requests that memory allows still succeed: nothing was leaked.
  const client = await new TestNbdClient(host.connectNbd()).greet();
  assert.equal((await client.go(exportNameOf(diskName, accessToken))).kind, optionReply.ack);
  const content = Buffer.alloc(32 * 1_048_576, 7);
  for (let round = 0; round < 4; round += 1) assert.equal((await client.write(0, content)).code, 0);
  assert.deepEqual((await client.read(0, content.length)).data, content);
  const errors = host.log.filter((line) => JSON.parse(line).level === 'error');
  assert.deepEqual(errors, []);
});
