import { randomBytes } from 'node:crypto';
import { openConnections, type Sql } from '@interlock/event-store';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Scope } from '@interlock/runtime';
import { AckPolicy, type JetStreamClient, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { makeMachine, makeWorld, type World } from '../cloud/world.ts';
import type { BenchOptions } from './bench.ts';
import { type Measurement, measurement, percentile, timed } from './measure.ts';

/** Machines made at once: enough to keep both cores busy, few enough to answer in time. */
const makersMax = 16;

/**
 * How long it takes from `DisableKeyVersion` called until the last machine under the key is stored, told and listed as
 * stopped, with a driver that has no guests. Beside it, in turn and on the same servers, the floor: the three commits and
 * the two hops over the bus it cannot do without, for a fleet with as many event rows and view rows as it has machines.
 */
export const revokeFleet = async (
  { smoke, size = 1, data }: BenchOptions,
  scope: Scope,
): Promise<readonly Measurement[]> => {
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name: `bench_${randomBytes(4).toString('hex')}`,
    temporary: true,
    settings: { GUEST_DRIVER: 'idle' },
  });
  scope.defer('cloud', cloud.stop);
  const outside = openOutside(cloud);
  scope.defer('clients', async () => outside.close());
  const clients = outside.administrator;
  const world = await makeWorld(clients, [['PREMIUM_SSD']]);
  const machines = [...world.machines];
  let next = 1;
  await Promise.all(
    Array.from({ length: Math.min(makersMax, size) }, async () => {
      while (next < size) machines.push(await makeMachine(clients, world, `vm${next++}`, ['PREMIUM_SSD']));
    }),
  );
  const floor = await openFloor(cloud, size, scope);

  const rounds = smoke ? 1 : size === 1 ? 30 : 5;
  const ours: number[] = [];
  const floors: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const took = await timed(() => revoke(clients, world, size));
    const floorTook = await timed(floor);
    // The first round warms up both.
    if (round > 0 || smoke) {
      ours.push(took);
      floors.push(floorTook);
    }
    await restore(clients, world, machines);
  }
  const p95 = { p95: Number(percentile(ours, 0.95).toFixed(2)), floorP95: Number(percentile(floors, 0.95).toFixed(2)) };
  return [measurement({ bench: 'revoke-fleet', size, unit: 'ms' }, ours, floors, p95)];
};

const countListed = async (clients: Clients, { group }: World, powerState: 'STOPPED' | 'RUNNING'): Promise<number> => {
  let count = 0;
  let pageToken = '';
  do {
    const page = await clients.compute.listVirtualMachines({ parent: group, powerState, pageSize: 1_000, pageToken });
    count += page.virtualMachines.length;
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return count;
};

const revoke = async (clients: Clients, world: World, size: number): Promise<void> => {
  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  const deadline = performance.now() + 120_000;
  // Looked at without a pause: a pause would be most of what is measured.
  while ((await countListed(clients, world, 'STOPPED')) < size) {
    if (performance.now() > deadline) throw new Error(`not all of ${size} machines stopped within 120 s`);
  }
};

const restore = async (clients: Clients, world: World, machines: readonly string[]): Promise<void> => {
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  await until('the set may use its key', async () => {
    const { keyAccess } = await clients.sets.getDiskEncryptionSet({ name: world.set });
    return keyAccess.every(({ state }) => state === 'AVAILABLE');
  });
  await until(
    'every machine runs',
    async () => {
      if ((await countListed(clients, world, 'RUNNING')) === machines.length) return true;
      for (const name of machines) await clients.compute.startVirtualMachine({ name });
      return false;
    },
    120_000,
  );
};

/** The floor, on the servers of the cloud: commits by plain SQL, hops by plain JetStream. */
const openFloor = async (cloud: LocalCloud, size: number, scope: Scope): Promise<() => Promise<void>> => {
  const sql = openConnections(cloud.databaseUrls.compute, { maxConnections: 2 });
  scope.defer('floor database', () => sql.end());
  await sql`create table floor_events (like events)`;
  await sql`create table floor_rows (key int primary key, row json not null) with (fillfactor = 50)`;
  await sql`insert into floor_rows select n, '{}' from generate_series(1, ${size}) n`;
  const connection = await connect({ servers: cloud.natsUrl });
  scope.defer('floor bus', () => connection.close());
  const stream = `bench_floor_${process.pid}`;
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: stream, subjects: [`${stream}.>`] });
  scope.defer('floor stream', () => manager.streams.delete(stream));
  const client = jetstream(connection);
  const hop = await openHop(client, manager, stream);
  return async () => {
    await insertEvents(sql, 1);
    await hop();
    await insertEvents(sql, 1);
    await hop();
    await sql.begin(async (transaction) => {
      await transaction`update floor_rows set row = '{"power":"stopped"}'`;
      await insertEvents(transaction as unknown as Sql, size);
    });
  };
};

const insertEvents = (sql: Sql, count: number) => sql`
  insert into floor_events
  select n, 'vm-' || n, 1, 'VmStopped', 1, json_build_object('reason', 'KEY_DISABLED', 'at', 1700000000000, 'name', repeat('x', 120)),
    json_build_object('correlationId', repeat('c', 36), 'caller', repeat('p', 47)), 1700000000000
  from generate_series(1, ${count}) n`;

/** One publish, awaited, that a consumer has received and acknowledged. */
const openHop = async (
  client: JetStreamClient,
  manager: Awaited<ReturnType<typeof jetstreamManager>>,
  stream: string,
) => {
  await manager.consumers.add(stream, { durable_name: 'floor', ack_policy: AckPolicy.Explicit });
  const consumer = await client.consumers.get(stream, 'floor');
  let received = (): void => {};
  await consumer.consume({
    callback: (message) => {
      message.ack();
      received();
    },
  });
  const payload = new Uint8Array(300);
  return async (): Promise<void> => {
    const arrived = new Promise<void>((resolve) => {
      received = resolve;
    });
    await client.publish(`${stream}.0`, payload);
    await arrived;
  };
};
