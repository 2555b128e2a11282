import { randomBytes } from 'node:crypto';
import { openCertificates } from '@interlock/local/certificates.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import { type Scope, systemClock } from '@interlock/runtime';
import { openOutside } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import { location, makeWorld } from '../../cloud/world.ts';
import type { BenchOptions } from '../bench.ts';
import { type Measurement, measurement, median } from '../measure.ts';
import { type DataClient, type DataTarget, openDataClient } from './data-client.ts';
import { checkPeers, type Peer, startPeers } from './nbd-peers.ts';
import { type Operation, operationsAt, perform, unitOf } from './operations.ts';

/** Bytes of data in a message of an answer: that of the disk service. */
const messageBytes = 65_536;

/** How long one sample takes. */
const sampleSeconds = 0.5;

/**
 * Reads and writes of a disk under a customer's key, through DiskDataService, with its lease looked at on every piece: 1 MiB
 * one after the other and 4 KiB here and there, at each depth (`size`). The floor, in turn with it: the same calls by the
 * same client to a process that serves them over bare gRPC with neither disk nor cipher, with the same TLS, window and
 * messages. Beside it, at the end: two servers of encrypted blocks written in C, on files in the same file system.
 */
export const diskIo = async ({ smoke, size, data }: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  if (!smoke) checkPeers();
  const regionBytes = (smoke ? 4 : 128) * 1_048_576;
  const content = randomBytes(1_048_576);
  const ours = await openDisk(data, scope);
  const floor = await openFloor(data, scope);
  const region = { regionBytes, content, seconds: smoke ? 0 : sampleSeconds };
  // Written once as a whole: nothing is measured on holes.
  for (let offset = 0; offset < regionBytes; offset += content.length) await ours.write(offset, content);

  const results: { operation: Operation; ours: number[]; floors: number[] }[] = [];
  for (const operation of operationsAt(size === undefined ? [1, 32] : [size])) {
    const samples = { operation, ours: [] as number[], floors: [] as number[] };
    const rounds = smoke ? 1 : 7;
    for (let round = 0; round <= rounds; round++) {
      const [value, floorValue] = [await perform(ours, operation, region), await perform(floor, operation, region)];
      // The first round warms up both.
      if (round === 0 && !smoke) continue;
      samples.ours.push(value);
      samples.floors.push(floorValue);
    }
    results.push(samples);
    const { pattern, direction, depth } = operation;
    const [value, floorValue] = [median(samples.ours), median(samples.floors)].map((rate) => Math.round(rate));
    console.error(`${pattern} ${direction}, depth ${depth}: ${value} ${unitOf(operation)}, bare gRPC ${floorValue}`);
  }
  const peers = smoke ? [] : await startPeers(data, regionBytes, scope);
  const measurements: Measurement[] = [];
  for (const { operation, ours: values, floors } of results) {
    const { pattern, direction, depth } = operation;
    const beside = smoke ? { peers: 'left out of the smoke form' } : await besidePeers(peers, operation);
    const named = { bench: 'disk-io', size: depth, unit: unitOf(operation) };
    measurements.push(measurement(named, values, floors, { of: `${pattern} ${direction}`, ...beside }));
  }
  return measurements;
};

const besidePeers = async (peers: readonly Peer[], operation: Operation) => {
  const rates: Record<string, number> = {};
  for (const peer of peers) {
    const samples = [];
    for (let round = 0; round < 3; round++) samples.push(await peer.measure(operation, sampleSeconds));
    rates[peer.name] = Number(median(samples).toPrecision(4));
  }
  return rates;
};

/** A disk of 1 GiB under a set, opened for direct access in a cloud of its own. */
const openDisk = async (data: DataFolder, scope: Scope): Promise<DataClient> => {
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
  const { administrator: clients } = outside;
  const { group, set } = await makeWorld(clients, []);
  const { name: disk } = await clients.disks.createDisk({
    parent: group,
    diskId: 'd1',
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
  });
  await until(
    'the disk is made',
    async () => (await clients.disks.getDisk({ name: disk })).provisioningState === 'SUCCEEDED',
  );
  const access = await clients.disks.beginAccess({ name: disk, accessLevel: 'WRITE', durationSeconds: 3_600 });
  const { dataAddress: address, accessToken } = access;
  return opened({ address, authorityFile: cloud.authorityFile, disk, accessToken }, scope);
};

const openFloor = async (data: DataFolder, scope: Scope): Promise<DataClient> => {
  const { certificateFile, keyFile, authorityFile } = await openCertificates(data, systemClock.now());
  const port = Promise.withResolvers<string>();
  const entry = new URL('./bare-server.ts', import.meta.url).pathname;
  const server = await startGuarded({
    command: process.execPath,
    args: [entry, certificateFile, keyFile, String(messageBytes)],
    cwd: '/',
    output: data.path('bare-server.log'),
    onLine: port.resolve,
    stopSignal: 'TERM',
    graceMs: 1_000,
  });
  scope.defer('bare server', server.stop);
  void server.exited.then(({ status }) => port.reject(new Error(`the bare server ended with status ${status}`)));
  return opened(
    { address: `127.0.0.1:${await port.promise}`, authorityFile, disk: 'none', accessToken: 'none' },
    scope,
  );
};

const opened = (target: DataTarget, scope: Scope): DataClient => {
  const client = openDataClient(target);
  scope.defer('data client', async () => client.close());
  return client;
};
