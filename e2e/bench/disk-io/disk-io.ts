import { randomBytes } from 'node:crypto';
import { openCertificates } from '@interlock/local/certificates.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';
import { type Scope, systemClock } from '@interlock/runtime';
import { makeWorld } from '../../cloud/world.ts';
import { type Bench, openCloud, openDisk } from '../bench.ts';
import { type Measurement, measurement, median, rounded } from '../measure.ts';
import { type DataTarget, openDataClient } from './data-client.ts';
import { checkPeers, openPeer, type Peer, startPeers } from './nbd-peers.ts';
import { type Operation, operationsAt, perform, unitOf } from './operations.ts';

/** Data bytes of a message, as the disk service sends it. */
const messageBytes = 65_536;
const sampleSeconds = 0.5;
/** Samples of each NBD server and operation, taken alternately. */
const peerRounds = 5;

/**
 * Reads and writes of a disk under a customer-managed key: 1 MiB sequential and 4 KiB random, `size` in flight.
 * Rows without `door`: through DiskDataService; floor, alternately: the same calls by the same client to `bare-server.ts`.
 * Rows with `"door":"nbd"`: through NBD, by fio; floor, alternately: the better of two NBD servers of encrypted blocks written in C.
 */
export const diskIo: Bench = async (options, scope) => {
  const { smoke, size, data } = options;
  if (!smoke) checkPeers();
  const regionBytes = (smoke ? 4 : 128) * 1_048_576;
  const content = randomBytes(1_048_576);
  const opened = (target: DataTarget) => {
    const client = openDataClient(target);
    scope.defer('data client', () => client.close());
    return client;
  };
  const socket = data.path('disk.sock');
  const settings = { ...options.settings, NBD_LISTEN: `unix:${socket}` };
  const benchCloud = await openCloud({ ...options, settings }, scope);
  const world = await makeWorld(benchCloud.clients, []);
  const disk = opened(await openDisk(benchCloud, world, 'd1'));
  const floor = opened(await startFloor(data, scope));
  const region = { regionBytes, content, seconds: smoke ? 0 : sampleSeconds };
  // Written once as a whole: no sample reads holes.
  for (let offset = 0; offset < regionBytes; offset += content.length) await disk.write(offset, content);

  const results = [];
  for (const operation of operationsAt(size === undefined ? [1, 32] : [size])) {
    const [values, floors] = [[] as number[], [] as number[]];
    for (let round = 0; round <= (smoke ? 0 : 7); round++) {
      values.push(await perform(disk, operation, region));
      floors.push(await perform(floor, operation, region));
    }
    // The first round warms up both.
    results.push({ operation, values: values.slice(smoke ? 0 : 1), floors: floors.slice(smoke ? 0 : 1) });
  }
  const grpc = results.map(({ operation, values, floors }) =>
    measurement(named(operation), values, floors, { of: operationText(operation) }),
  );
  if (smoke) return grpc;
  const target = await openDisk(benchCloud, world, 'd2');
  const own = await openPeer('own', nbdUri(target, socket), regionBytes);
  const peers = await startPeers(data, regionBytes, scope);
  const nbd = [];
  for (const { operation } of results) nbd.push(await throughNbd(operation, own, peers));
  return [...grpc, ...nbd];
};

const named = (operation: Operation) => ({ bench: 'disk-io', size: operation.depth, unit: unitOf(operation) });
const operationText = ({ pattern, direction }: Operation): string => `${pattern} ${direction}`;

const nbdUri = ({ disk, accessToken }: DataTarget, socket: string): string =>
  `nbd+unix:///${disk}@${accessToken}?socket=${socket}`;

/** One row: our NBD server compared with the better peer. */
const throughNbd = async (operation: Operation, own: Peer, peers: readonly Peer[]): Promise<Measurement> => {
  const values: number[] = [];
  const rates = new Map(peers.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < peerRounds; round += 1) {
    values.push(await own.measure(operation, sampleSeconds));
    for (const peer of peers) rates.get(peer.name)?.push(await peer.measure(operation, sampleSeconds));
  }
  const better = [...rates.values()].toSorted((one, other) => median(other) - median(one))[0] ?? [];
  const medians = Object.fromEntries([...rates].map(([name, samples]) => [name, rounded(median(samples))]));
  const peerRatio = rounded(median(values) / median(better));
  return measurement(named(operation), values, better, {
    of: `NBD, ${operationText(operation)}`,
    door: 'nbd',
    ...medians,
    peerRatio,
  });
};

const startFloor = async (data: DataFolder, scope: Scope): Promise<DataTarget> => {
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
  return { address: `127.0.0.1:${await port.promise}`, authorityFile, disk: 'none', accessToken: 'none' };
};
