import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { createScope, type Scope } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import type { BenchOptions } from './bench.ts';
import { type DataClient, openDataClient } from './disk-io/data-client.ts';
import { cpuMs } from './fleet/cpu.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleetCloud } from './fleet/fleet-cloud.ts';
import { planFleet } from './fleet/plan.ts';
import { type Measurement, measurement, median, percentile, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Machines whose disks move, when no size is asked for. */
const sizes = [1_000, 10_000];
/** A rotation of any size must be over by then. */
const rotationMs = 3_600_000;
/** Disks that are read and written meanwhile, a piece of 4 KiB each in so many milliseconds. */
const busyDisks = 4;
const ioEveryMs = 20;
const ioBytes = 4_096;
/** How long reads and writes are looked at while nothing else happens. */
const idleMs = 5_000;

/**
 * Rewraps a second while the data keys of a fleet move to a new version of their key, disk by disk: from `AssignKey` until
 * no set needs the old version any more. Meanwhile disks of the same sets are read and written, and so they are before. The
 * floor is one private and one public operation of `openssl speed` a disk. `--size` is the number of machines under the key.
 */
export const rotateFleet = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const measured: Measurement[] = [];
  for (const size of options.size === undefined ? (options.smoke ? [2] : sizes) : [options.size]) {
    // A cloud after the other on the same folder.
    const own = createScope();
    scope.defer('fleet', () => own.close());
    measured.push(await rotateOne(options, size, own));
    await own.close();
  }
  return measured;
};

const rotateOne = async (options: BenchOptions, size: number, scope: Scope): Promise<Measurement> => {
  const { smoke } = options;
  const { cloud, clients, fleet } = await openFleetCloud(options, size, scope);
  const disks = await Promise.all(
    Array.from({ length: busyDisks }, (_, n) => openBusyDisk(cloud, clients, fleet, `busy${n}`, scope)),
  );
  const moving = movingDisks(fleet) + busyDisks;

  const idle = await readAndWrite(disks, () => delay(smoke ? 200 : idleMs));
  const [rates, floors] = [[] as number[], [] as number[]];
  const [busy, cpu]: [number[], Record<string, number>] = [[], {}];
  for (let round = 0; round < (smoke || size > 5_000 ? 1 : 3); round++) {
    const services = ['key-vault', 'disk-encryption-set', 'disk'] as const;
    const before = services.map((service) => cpuMs([cloud.pid(service)]));
    let took = 0;
    const during = await readAndWrite(disks, async () => {
      took = await timed(() => rotate(clients, fleet));
    });
    for (const [n, service] of services.entries()) {
      const ms = cpuMs([cloud.pid(service)]) - (before[n] ?? 0);
      cpu[`cpu of ${service}`] = Math.round((ms / moving) * 1_000);
    }
    rates.push((moving / took) * 1_000);
    busy.push(percentile(during, 0.99));
    const { decrypt, encrypt } = await rsaSpeed(2048, 1);
    floors.push(1 / (1 / decrypt + 1 / encrypt));
  }
  const [idleP99, busyP99] = [percentile(idle, 0.99), median(busy)];
  return measurement({ bench: 'rotate-fleet', size, unit: 'rewraps/s' }, rates, floors, {
    disks: moving,
    idleP99Ms: Number(idleP99.toFixed(2)),
    ioP99Ms: Number(busyP99.toFixed(2)),
    ioP99Ratio: Number((busyP99 / idleP99).toFixed(2)),
    // Microseconds of processor time a disk in the last round.
    ...cpu,
  });
};

const movingDisks = (fleet: Fleet): number => {
  const sets = new Set(fleet.lost.map(({ name }) => name));
  let count = 0;
  for (const { disks } of planFleet(fleet.stopping, fleet))
    count += disks.filter(({ set }) => sets.has(set.name)).length;
  return count;
};

/**
 * Makes the next version of the key, has every set of the fleet that is under the key move to it, and waits for all of them.
 * @returns the name of that version
 */
export const rotate = async ({ keyVault, sets }: Clients, fleet: Fleet): Promise<string> => {
  const [key = ''] = fleet.keyVersion.split('/versions/');
  const { name: next, keyUrl } = await keyVault.rotateKey({ name: key, requestId: randomUUID() });
  /** Told by the set: who asks again and again takes a third of the processor time that the rotation needs. */
  const moved = async (name: string): Promise<void> => {
    const told = sets.watchDiskEncryptionSet({ name }, { deadlineMs: rotationMs });
    for await (const { activeKey, previousKeys } of told) {
      if (activeKey?.keyUrl === keyUrl && previousKeys.length === 0) return;
    }
    throw new Error(`${name} still needs the old version, and nothing more is told of it`);
  };
  await Promise.all(
    fleet.lost.map(async ({ name }) => {
      await sets.assignKey({ name, keyUrl });
      await moved(name);
    }),
  );
  return next;
};

/** A disk of the fleet's first set, written once from end to end of what is going to be read. */
const openBusyDisk = async (
  cloud: LocalCloud,
  clients: Clients,
  { group, lost: [set] }: Fleet,
  diskId: string,
  scope: Scope,
): Promise<DataClient> => {
  const { name: disk } = await clients.disks.createDisk({
    parent: group,
    diskId,
    location,
    sku: 'PREMIUM_SSD',
    sizeGib: 1,
    encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name },
  });
  await until(`${disk} is made`, async () => {
    const { provisioningState } = await clients.disks.getDisk({ name: disk });
    return provisioningState === 'SUCCEEDED';
  });
  const access = await clients.disks.beginAccess({ name: disk, accessLevel: 'WRITE', durationSeconds: 3_600 });
  const { dataAddress: address, accessToken } = access;
  const client = openDataClient({ address, authorityFile: cloud.authorityFile, disk, accessToken });
  scope.defer('data client', async () => client.close());
  await client.write(0, randomBytes(ioBytes));
  return client;
};

/** Reads and writes until the work is done. No piece may fail (G6). @returns how long each piece took, in ms */
const readAndWrite = async (disks: readonly DataClient[], work: () => Promise<unknown>): Promise<readonly number[]> => {
  const took: number[] = [];
  const content = randomBytes(ioBytes);
  let isDone = false;
  const guests = disks.map(async (disk, n) => {
    for (let piece = 0; !isDone; piece++) {
      await delay(ioEveryMs);
      took.push(await timed(() => ((piece + n) % 2 === 0 ? disk.read(0, ioBytes) : disk.write(0, content))));
    }
  });
  try {
    await work();
  } finally {
    isDone = true;
    await Promise.all(guests);
  }
  return took;
};
