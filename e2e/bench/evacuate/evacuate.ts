import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from '@grpc/grpc-js';
import { openIdentities } from '@interlock/local/bootstrap-identities.ts';
import { channelCredentials } from '@interlock/rpc/credentials';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { connectionOptions, type DiskIo, diskIo } from '../../../services/compute/src/guest/disk-io.ts';
import { openOutside } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import { makeWorld } from '../../cloud/world.ts';
import { type BenchCloud, benchOf, openCloud } from '../bench.ts';
import { median, percentile, rounded, timed } from '../measure.ts';
import { openFloors } from './floors.ts';

const mib = 1_048_576;
/** Bytes of one read or write of the guest, and the pause between two, in ms. */
const [ioBytes, pauseMs] = [4_096, 20];
/** The guest is alone for so long first, in ms. */
const [warmMs, idleMs] = [2_000, 6_000];

/**
 * MiB a second at which a disk of 1 GiB with `size` MiB of data moves to another disk host, from `MoveDisk` until the record names that host,
 * while its machine reads and writes it with the code of a guest. Floor, alternately: one gRPC stream of the same bytes to another
 * process with one fdatasync. `cpRate`: `cp` of the same bytes, and `sync`. `gapMs`: the longest operation of the guest during a move.
 */
export const evacuate = benchOf(
  {
    name: 'evacuate',
    unit: 'MiB/s',
    sizes: [900],
    smoke: 4,
    accepts: (size) => size <= 1_000 || 'at most 1000: a disk has 1 GiB',
  },
  async ({ size, options, scope, usually, rounds }) => {
    const benchCloud = await openCloud({ ...options, diskHosts: 2 }, scope);
    const { machines } = await makeWorld(benchCloud.clients, [['PREMIUM_SSD']]);
    const guest = await openGuest(benchCloud, machines[0] ?? '', scope);
    const content = randomBytes(size * mib);
    for (let at = 0; at < content.length; at += mib) await guest.io.write(at, content.subarray(at, at + mib), never);
    const floors = await openFloors(content, benchCloud.data, scope);
    const use = (work: () => Promise<unknown>) => useDuring(guest.io, content, work);
    await use(() => delay(usually(warmMs, 100)));
    const idle = await use(() => delay(usually(idleMs, 200)));
    const samples = await rounds(5, async () => {
      let movedMs = 0;
      const busy = await use(async () => {
        movedMs = await moveAway(benchCloud, guest.disk);
      });
      const [streamMs, copyMs] = [await timed(floors.stream), await timed(floors.copy)];
      return { movedMs, busy, streamMs, copyMs };
    });
    const rate = (ms: number): number => (size / ms) * 1_000;
    const all = samples.flatMap(({ busy }) => busy);
    const [idleP99, busyP99] = [percentile(idle, 0.99), percentile(all, 0.99)];
    return {
      values: samples.map(({ movedMs }) => rate(movedMs)),
      floors: samples.map(({ streamMs }) => rate(streamMs)),
      details: {
        cpRate: rounded(median(samples.map(({ copyMs }) => rate(copyMs)))),
        gapMs: rounded(Math.max(...all)),
        ...{ idleP99Ms: rounded(idleP99), ioP99Ms: rounded(busyP99), ioP99Ratio: rounded(busyP99 / idleP99) },
        ...{ idleIo: idle.length, io: all.length },
      },
    };
  },
);

const never = new AbortController().signal;

/** The only disk of a machine, opened for it as compute does. The machine itself has no guest here. */
const openGuest = async (
  { cloud, clients, data }: BenchCloud,
  machine: string,
  scope: Scope,
): Promise<{ readonly disk: string; readonly io: DiskIo }> => {
  const { osDisk } = await clients.compute.getVirtualMachine({ name: machine });
  const disk = osDisk?.disk ?? '';
  const { principalId, secretFile } = openIdentities(data, systemRandom).workloads.compute;
  const outside = openOutside(cloud);
  scope.defer('clients of compute', () => outside.close());
  const { disks } = outside.as({ id: principalId, secret: readFileSync(secretFile, 'utf8') });
  const { outcomes } = await disks.openDisks({ items: [{ open: { name: disk, virtualMachine: machine } }] });
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case !== 'opened') throw new Error(`${disk} was not opened: ${outcome?.value.message}`);
  const tls = channelCredentials({ ca: readFileSync(cloud.authorityFile, 'utf8') });
  const connections = new Map<string, Client>();
  const clientOf = (address: string): Client => {
    const client = connections.get(address) ?? new Client(address, tls, connectionOptions());
    connections.set(address, client);
    return client;
  };
  scope.defer('connections of the guest', () => {
    for (const client of connections.values()) client.close();
  });
  const { dataAddress, accessToken, sizeBytes } = outcome.value;
  const place = { dataAddress, nbdAddress: '', accessToken, sizeBytes };
  const io = diskIo(clientOf, { disk, lun: 0, isOs: true, isContinued: false, ...place }, systemClock);
  return { disk, io };
};

/**
 * Reads and writes while `work` runs. @returns durations of the operations, in ms
 * @throws Error if an operation fails, or reads what was not written
 */
const useDuring = async (io: DiskIo, content: Uint8Array, work: () => Promise<unknown>): Promise<readonly number[]> => {
  const over = new AbortController();
  const tookMs: number[] = [];
  const use = async (): Promise<void> => {
    for (let n = 0; !over.signal.aborted; n++) {
      const at = ((n * 7_919) % (content.length / ioBytes)) * ioBytes;
      const expected = content.subarray(at, at + ioBytes);
      const since = performance.now();
      const found = n % 2 === 0 ? await io.read(at, ioBytes, never) : undefined;
      if (found === undefined) await io.write(at, expected, never);
      tookMs.push(performance.now() - since);
      if (found !== undefined && Buffer.compare(found, expected) !== 0)
        throw new Error(`the disk has other bytes at ${at}`);
      await delay(pauseMs);
    }
  };
  const using = use();
  await Promise.race([work().finally(() => over.abort()), using]);
  await using;
  return tookMs;
};

/** Moves a disk to the other host. @returns how long that took, in ms */
const moveAway = async ({ clients: { disks } }: BenchCloud, name: string): Promise<number> => {
  const { diskHost: present } = await disks.getDisk({ name });
  const other = (await disks.listDiskHosts({})).diskHosts.find((host) => host.name !== present)?.name ?? '';
  let since = 0;
  // Refused until the other host has removed what the last move left there.
  await until(`the move of ${name} begins`, () => {
    since = performance.now();
    return disks.moveDisk({ name, diskHost: other });
  });
  const { moveFailure } = await until(`${name} has moved`, async () => {
    const disk = await disks.getDisk({ name });
    return disk.movingTo === '' && disk;
  });
  if (moveFailure !== '') throw new Error(`${name} did not move: ${moveFailure}`);
  return performance.now() - since;
};
