import { randomBytes } from 'node:crypto';
import { openCertificates } from '@interlock/local/certificates.ts';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import { startGuarded } from '@interlock/local/guarded-process.ts';
import { type Scope, systemClock } from '@interlock/runtime';
import { makeWorld } from '../../cloud/world.ts';
import { type Bench, openCloud, openDisk } from '../bench.ts';
import { measurement, median, rounded } from '../measure.ts';
import { type DataTarget, openDataClient } from './data-client.ts';
import { checkPeers, type Peer, startPeers } from './nbd-peers.ts';
import { type Operation, operationsAt, perform, unitOf } from './operations.ts';

/** Data bytes of a message, as the disk service sends it. */
const messageBytes = 65_536;
const sampleSeconds = 0.5;

/**
 * Reads and writes of a disk under a customer-managed key through DiskDataService: 1 MiB sequential and 4 KiB random, `size`
 * in flight. Floor, alternately: the same calls by the same client to `bare-server.ts`. Peers, at the end: two NBD servers
 * of encrypted blocks written in C.
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
  const benchCloud = await openCloud(options, scope);
  const disk = opened(await openDisk(benchCloud, await makeWorld(benchCloud.clients, []), 'd1'));
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
  const peers = smoke ? [] : await startPeers(data, regionBytes, scope);
  const lines = [];
  for (const { operation, values, floors } of results) {
    const named = { bench: 'disk-io', size: operation.depth, unit: unitOf(operation) };
    const of = `${operation.pattern} ${operation.direction}`;
    lines.push(measurement(named, values, floors, { of, ...(await ratesOf(peers, operation)) }));
  }
  return lines;
};

const ratesOf = async (peers: readonly Peer[], operation: Operation): Promise<Readonly<Record<string, number>>> => {
  const rates: Record<string, number> = {};
  for (const peer of peers) {
    const samples = [];
    for (let round = 0; round < 3; round++) samples.push(await peer.measure(operation, sampleSeconds));
    rates[peer.name] = rounded(median(samples));
  }
  return rates;
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
