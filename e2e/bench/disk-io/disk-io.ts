import { randomBytes } from 'node:crypto';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { Scope } from '@interlock/runtime';
import { makeWorld } from '../../cloud/world.ts';
import { startBare } from '../bare-process.ts';
import { type BenchOptions, benchOf, openCloud, openDisk, type Sampled } from '../bench.ts';
import { median, rounded } from '../measure.ts';
import { type DataClient, type DataTarget, openDataClient } from './data-client.ts';
import { checkPeers, openPeer, type Peer, startPeers } from './nbd-peers.ts';
import { type Operation, operationsAt, perform, unitOf } from './operations.ts';

/** Data bytes of a message, as the disk service sends it. */
const messageBytes = 65_536;
const sampleSeconds = 0.5;
/** Samples of each NBD server and operation, taken alternately. */
const peerRounds = 5;

/**
 * Reads and writes of a disk under a customer-managed key: 1 MiB sequential and 4 KiB random, `size` in flight.
 * Rows without `door`: through DiskDataService; floor, alternately: the same calls by the same client to `bare-server.ts`. With
 * `--disk-hosts N`: the sum for a disk on each host, at once; floor: as many bare servers.
 * Rows with `"door":"nbd"`: through NBD, by fio; floor, alternately: the better of two NBD servers of encrypted blocks written in C.
 */
export const diskIo = benchOf(
  {
    name: 'disk-io',
    unit: 'MiB/s',
    sizes: [1, 32],
    isOfCloud: true,
    setUp: (options, scope) => openDisks(options, scope),
  },
  async ({ size, rounds }, { disks, floors, nbd, region }) => {
    const operations = operationsAt([size]);
    const sampled: Sampled[] = [];
    for (const operation of operations) {
      const samples = await rounds(7, async () => ({
        value: await performAll(disks, operation, region),
        floor: await performAll(floors, operation, region),
      }));
      const rates = { values: samples.map(({ value }) => value), floors: samples.map(({ floor }) => floor) };
      sampled.push({ ...rates, unit: unitOf(operation), details: { of: operationText(operation) } });
    }
    if (nbd) for (const operation of operations) sampled.push(await throughNbd(operation, nbd.own, nbd.peers));
    return sampled;
  },
);

/** The sum of the rates of several disks in use at once. */
const performAll = async (
  disks: readonly DataClient[],
  operation: Operation,
  region: Parameters<typeof perform>[2],
): Promise<number> => {
  const rates = await Promise.all(disks.map((disk) => perform(disk, operation, region)));
  return rates.reduce((sum, rate) => sum + rate, 0);
};

/**
 * Opens a disk on each host and as many bare servers, and another disk and its peers through NBD, unless it is a smoke run or there
 * are several hosts.
 */
const openDisks = async (options: BenchOptions, scope: Scope) => {
  const { smoke, data, diskHosts = 0 } = options;
  const isNbdMeasured = !smoke && diskHosts === 0;
  if (isNbdMeasured) checkPeers();
  const regionBytes = (smoke ? 4 : 128) * 1_048_576;
  const content = randomBytes(1_048_576);
  const opened = (target: DataTarget) => {
    const client = openDataClient(target);
    scope.defer('data client', () => client.close());
    return client;
  };
  const socket = data.path('disk.sock');
  const settings = { ...options.settings, ...(isNbdMeasured ? { NBD_LISTEN: `unix:${socket}` } : {}) };
  const benchCloud = await openCloud({ ...options, settings }, scope);
  const world = await makeWorld(benchCloud.clients, []);
  const targets = [await openDisk(benchCloud, world, 'd1')];
  // A set chooses its host by a hash of its name, so further worlds are made until each host has one.
  while (targets.length < diskHosts) {
    const target = await openDisk(benchCloud, await makeWorld(benchCloud.clients, []), 'd1');
    if (targets.every(({ address }) => address !== target.address)) targets.push(target);
  }
  const disks = targets.map(opened);
  const floors: DataClient[] = [];
  while (floors.length < disks.length) floors.push(opened(await startFloor(data, scope)));
  // Written once as a whole: no sample reads holes.
  for (const disk of disks)
    for (let offset = 0; offset < regionBytes; offset += content.length) await disk.write(offset, content);
  const openNbd = async () => {
    const target = await openDisk(benchCloud, world, 'd2');
    const own = await openPeer('own', nbdUri(target, socket), regionBytes);
    return { own, peers: await startPeers(data, regionBytes, scope) };
  };
  const region = { regionBytes, content, seconds: smoke ? 0 : sampleSeconds };
  return { disks, floors, region, nbd: isNbdMeasured ? await openNbd() : undefined };
};

const operationText = ({ pattern, direction }: Operation): string => `${pattern} ${direction}`;

const nbdUri = ({ disk, accessToken }: DataTarget, socket: string): string =>
  `nbd+unix:///${disk}@${accessToken}?socket=${socket}`;

/** One row: our NBD server compared with the better peer. */
const throughNbd = async (operation: Operation, own: Peer, peers: readonly Peer[]): Promise<Sampled> => {
  const values: number[] = [];
  const rates = new Map(peers.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < peerRounds; round += 1) {
    values.push(await own.measure(operation, sampleSeconds));
    for (const peer of peers) rates.get(peer.name)?.push(await peer.measure(operation, sampleSeconds));
  }
  const better = [...rates.values()].toSorted((one, other) => median(other) - median(one))[0] ?? [];
  const medians = Object.fromEntries([...rates].map(([name, samples]) => [name, rounded(median(samples))]));
  const peerRatio = rounded(median(values) / median(better));
  const details = { of: `NBD, ${operationText(operation)}`, door: 'nbd', ...medians, peerRatio };
  return { values, floors: better, unit: unitOf(operation), details };
};

const startFloor = async (data: DataFolder, scope: Scope): Promise<DataTarget> => {
  const entry = new URL('./bare-server.ts', import.meta.url);
  const server = await startBare(entry, [String(messageBytes)], data, scope);
  return { ...server, disk: 'none', accessToken: 'none' };
};
