import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { after, before, beforeEach, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ReadRequest } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { ServiceName } from '@interlock/local/services.ts';
import { connect as connectClient, openChannel, type RpcClient } from '@interlock/rpc';
import { systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import { tlsInto } from '../cloud/clients.ts';
import { residentMib } from '../cloud/resident.ts';
import { type TestCloud, testCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';

/** The most memory that a service may use, whatever strangers do: the same bound as that of the fuzzers. It starts with about 140 MiB. */
const RESIDENT_MAX_MIB = 350;

let t: TestCloud;
let group: string;
before(async () => {
  t = await testCloud(withTelemetry);
  const [{ name } = { name: '' }] = (await t.clients.identity.listSubscriptions({})).subscriptions;
  group = `${name}/resourceGroups/memory`;
});
after(() => t.stop());
// Memory that one attack leaves in the allocator does not count for the next.
beforeEach(() => t.cloud.restart('disk'));

/** A raw connection that ignores the limits of gRPC. */
const stranger = (service: ServiceName): ClientHttp2Session => {
  const session = connect(`https://${t.cloud.addresses[service]}`, { ca: readFileSync(t.cloud.authorityFile) });
  session.on('error', () => undefined);
  return session;
};

const begin = (session: ClientHttp2Session, path: string, more: Record<string, string> = {}): ClientHttp2Stream => {
  const grpc = { 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request({ ':method': 'POST', ':path': path, ...grpc, ...more });
  stream.on('error', () => undefined);
  return stream;
};

const framed = (message: Uint8Array, length = message.length): Buffer => {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(length, 1);
  frame.set(message, 5);
  return frame;
};

/** The largest memory of a service while work runs. */
const mostResident = async (service: ServiceName, seconds: number): Promise<number> => {
  let most = 0;
  for (let n = 0; n < seconds * 10; n += 1) {
    most = Math.max(most, residentMib(t.cloud.pid(service)) ?? 0);
    await sleep(100);
  }
  return most;
};

const judge = (context: TestContext, most: number): void => {
  context.diagnostic(`at most ${most} MiB resident`);
  assert.ok(most < RESIDENT_MAX_MIB, `${most} MiB`);
};

const newDisk = async (diskId: string): Promise<{ readonly name: string; readonly accessToken: string }> => {
  const { disks } = t.clients;
  const { name } = await disks.createDisk({ parent: group, diskId, location, sku: 'PREMIUM_SSD', sizeGib: 1 });
  await until('the disk is made', async () => (await disks.getDisk({ name })).provisioningState === 'SUCCEEDED');
  const { accessToken } = await disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 600 });
  return { name, accessToken };
};

const dataClient = (): {
  readonly client: RpcClient<typeof DiskDataServiceDefinition>;
  readonly close: () => void;
} => {
  const channel = openChannel({ address: t.cloud.addresses.disk, tls: tlsInto(t.cloud) });
  const seams = { clock: systemClock, random: systemRandom, tracer: trace.getTracer('test') };
  const client = connectClient({
    channel,
    definition: DiskDataServiceDefinition,
    credentials: undefined,
    audience: 'interlock:disk',
    ...seams,
  });
  return { client, close: () => channel.close() };
};

/** Reads with a client that consumes the response. @returns the number of bytes received */
const readAll = async ({ name, accessToken }: { name: string; accessToken: string }, lengthBytes: number) => {
  const { client, close } = dataClient();
  try {
    const metadata = Metadata({ 'x-interlock-disk-access': accessToken });
    let bytes = 0;
    const request = { name, offsetBytes: 0, lengthBytes };
    for await (const { data } of client.read(request, { metadata, deadlineMs: 60_000 })) bytes += data.length;
    return bytes;
  } finally {
    close();
  }
};

const readsOf = ({ name, accessToken }: { name: string; accessToken: string }, connections: number, each: number) => {
  const message = framed(ReadRequest.encode({ name, offsetBytes: 0, lengthBytes: 2 ** 30 }).finish());
  const sessions = Array.from({ length: connections }, () => stranger('disk'));
  for (const session of sessions) {
    for (let n = 0; n < each; n += 1) {
      const access = { 'x-interlock-disk-access': accessToken };
      // No listener consumes the data: the stream stays open, and the response stays in the memory of the server.
      begin(session, '/interlock.disk.v1.DiskDataService/Read', access).end(message);
    }
  }
  return () => {
    for (const session of sessions) session.destroy();
  };
};

test('1,500 reads of one disk that are not consumed leave the disk host below 350 MiB, and others are served', async (context) => {
  const attacked = await newDisk('attacked');
  const other = await newDisk('other');
  const end = readsOf(attacked, 15, 100);
  const [most, bytes] = await Promise.all([mostResident('disk', 8), sleep(3_000).then(() => readAll(other, 2 ** 26))]);
  end();
  assert.equal(bytes, 2 ** 26);
  judge(context, most);
});

test('20 reads of each of 20 disks that are not consumed leave the disk host below 350 MiB, and others are served', async (context) => {
  const attacked = await Promise.all(Array.from({ length: 20 }, (_, n) => newDisk(`attacked-${n}`)));
  const other = await newDisk('another');
  const ends = attacked.map((disk) => readsOf(disk, 1, 20));
  const [most, bytes] = await Promise.all([mostResident('disk', 8), sleep(3_000).then(() => readAll(other, 2 ** 26))]);
  for (const end of ends) end();
  assert.equal(bytes, 2 ** 26);
  judge(context, most);
});

for (const [service, path] of [
  ['identity', '/interlock.identity.v1.IdentityService/IssueToken'],
  ['key-vault', '/interlock.key_vault.v1.KeyVaultService/CreateKey'],
  ['disk', '/interlock.disk.v1.DiskDataService/Write'],
] as const) {
  test(`300 incomplete anonymous requests of up to 3.9 MB leave ${service} below 350 MiB, and end`, async (context) => {
    const sessions = Array.from({ length: 3 }, () => stranger(service));
    const part = framed(Buffer.alloc(3_900_000), 2_000_000);
    part.writeUInt32BE(service === 'disk' ? 2_100_000 : 4_000_000, 1);
    const streams = sessions.flatMap((session) => Array.from({ length: 100 }, () => begin(session, path)));
    for (const stream of streams) {
      stream.write(part.subarray(0, service === 'disk' ? 2_050_000 : part.length));
      stream.resume();
    }
    const most = await mostResident(service, 8);
    judge(context, most);
    await until('the requests have ended', async () => streams.filter(({ closed }) => !closed).length === 0, 60_000);
    for (const session of sessions) session.destroy();
    await t.clients.identity.listSubscriptions({});
  });
}
