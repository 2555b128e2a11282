import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { createScope, type Scope } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { location } from '../cloud/world.ts';
import type { BenchOptions } from './bench.ts';
import type { DataTarget } from './disk-io/data-client.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleetCloud, usageOfCloud, usedMeanwhile } from './fleet/fleet-cloud.ts';
import { openGuests } from './fleet/guest-latency.ts';
import { planFleet } from './fleet/plan.ts';
import { type Measurement, measurement, percentile, quantilesOf, rounded, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Machines whose disks move, when no size is asked for. */
const sizes = [1_000, 10_000];
/** A rotation of any size must be over by then. */
const rotationMs = 3_600_000;
/** Disks that are read and written meanwhile. */
const busyDisks = 4;
/** How long guests read and write first, so that none of the code is run for the first time, and how long while nothing else happens. */
const warmMs = 3_000;
const idleMs = 6_000;

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
  const opened = await openFleetCloud(options, size, scope);
  const { cloud, clients, fleet } = opened;
  const disks = await Promise.all(
    Array.from({ length: busyDisks }, (_, n) => openBusyDisk(cloud, clients, fleet, `busy${n}`)),
  );
  const guests = await openGuests(disks, scope);
  const moving = movingDisks(fleet) + busyDisks;

  await guests.during(() => delay(smoke ? 100 : warmMs));
  const { tookMs: idle } = await guests.during(() => delay(smoke ? 200 : idleMs));
  const [rates, floors, busy, late] = [[] as number[], [] as number[], [] as number[], [] as number[]];
  let cpu = {};
  for (let round = 0; round < (smoke || size > 5_000 ? 1 : 3); round++) {
    const before = await usageOfCloud(opened);
    let took = 0;
    const { tookMs, loopLateMs } = await guests.during(async () => {
      took = await timed(() => rotate(clients, fleet));
    });
    cpu = usedMeanwhile([before, await usageOfCloud(opened)], { machines: moving, tookMs: took });
    rates.push((moving / took) * 1_000);
    busy.push(...tookMs);
    late.push(loopLateMs);
    const { decrypt, encrypt } = await rsaSpeed(2048, 1);
    floors.push(1 / (1 / decrypt + 1 / encrypt));
  }
  const [idleP99, busyP99] = [percentile(idle, 0.99), percentile(busy, 0.99)];
  return measurement({ bench: 'rotate-fleet', size, unit: 'rewraps/s' }, rates, floors, {
    disks: moving,
    idleP99Ms: rounded(idleP99),
    ioP99Ms: rounded(busyP99),
    ioP99Ratio: rounded(busyP99 / idleP99),
    idleIo: idle.length,
    io: busy.length,
    idleIoQuantiles: quantilesOf(idle),
    ioQuantiles: quantilesOf(busy),
    // By how much the process of the guests itself came late: that is in the figures above.
    guestLoopP99Ms: rounded(Math.max(...late)),
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

/** A disk of the fleet's first set, to be read and written. */
const openBusyDisk = async (
  cloud: LocalCloud,
  clients: Clients,
  { group, lost: [set] }: Fleet,
  diskId: string,
): Promise<DataTarget> => {
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
  return { address, authorityFile: cloud.authorityFile, disk, accessToken };
};
