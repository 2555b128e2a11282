import { setTimeout as sleep } from 'node:timers/promises';
import { type Scope, systemRandom } from '@interlock/runtime';
import { makeWorld, untilPower } from '../cloud/world.ts';
import { benchOf, openDisk } from './bench.ts';
import { openDataClient } from './disk-io/data-client.ts';
import type { Fleet } from './fleet/fleet.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { percentile, rounded, timed } from './measure.ts';

/** How long the idle cloud is watched before each round. */
const idleMs = 6_000;
/** Rounds repeat until there are this many samples of each call during revocations: fewer have no p99. */
const samplesMin = 200;
const roundsMax = 8;
/** Pause of a caller between two calls, and between two checks of a starting machine, in ms. */
const pauseMs = 10;
const pollMs = 2;
/** Machines of the other user, each started repeatedly, and callers that read and wrap. */
const machineCount = 8;
const callerCount = 2;

const calls = ['start', 'read', 'wrap'] as const;
/** Latencies of each call, in ms. */
type Latencies = Readonly<Record<(typeof calls)[number], readonly number[]>>;

/**
 * What a revocation of `size` machines costs others: p99 of starting a machine, reading 4 KiB of a disk and wrapping a key, for
 * a user with another vault, while the fleet stops. Floor: the same while nothing stops.
 */
export const fairness = benchOf(
  { name: 'fairness', unit: 'ms', sizes: [10_000], smoke: 2, isOfCloud: true },
  async ({ size, options, scope, usually }) => {
    const fleet = await openFleet(options, size, scope);
    const stopped = await fleet.countFacts('VmStopped', scope);
    const measureDuring = await openOtherUser(fleet, scope);
    const idle = () => sleep(usually(idleMs, 0));

    // Warms up.
    await measureDuring(idle);
    const quiet: Latencies[] = [];
    const busy: Latencies[] = [];
    const all = (of: readonly Latencies[], call: keyof Latencies) => of.flatMap((latencies) => latencies[call]);
    const isEnough = (): boolean => calls.every((call) => all(busy, call).length >= samplesMin);
    for (let round = 0; round < usually(roundsMax) && !isEnough(); round++) {
      if (round > 0) await fleet.restore();
      quiet.push(await measureDuring(idle));
      busy.push(await measureDuring(() => fleet.revoke(stopped)));
    }
    return calls.map((call) => {
      const [during, before] = [all(busy, call), all(quiet, call)];
      const details = {
        of: `p99 of ${call}`,
        p50: rounded(percentile(during, 0.5)),
        idleP50: rounded(percentile(before, 0.5)),
        samples: during.length,
        idleSamples: before.length,
        rounds: busy.length,
      };
      return { values: [percentile(during, 0.99)], floors: [percentile(before, 0.99)], details };
    });
  },
);

/** Creates another user's vault, set, machines and disk. @returns measures that user's calls while `work` runs */
const openOtherUser = async (
  fleet: Fleet,
  scope: Scope,
): Promise<(work: () => Promise<unknown>) => Promise<Latencies>> => {
  const { clients } = fleet;
  const world = await makeWorld(
    clients,
    Array.from({ length: machineCount }, () => ['PREMIUM_SSD']),
  );
  const target = await openDisk(fleet, world, 'own');
  const data = openDataClient(target);
  scope.defer('data of the other user', () => data.close());
  const wrap = { algorithm: 'RSA_OAEP_256', plaintextKey: Buffer.from(systemRandom.bytes(32)) } as const;
  const start = async (name: string): Promise<number> => {
    await clients.compute.powerOffVirtualMachine({ name });
    await untilPower(clients, name, 'STOPPED');
    return timed(async () => {
      await clients.compute.startVirtualMachine({ name });
      while ((await clients.compute.getVirtualMachine({ name })).powerState !== 'RUNNING') await sleep(pollMs);
    });
  };
  const read = () => timed(() => data.read(0, 4_096));
  const wrapOne = () =>
    timed(() => clients.keyVault.wrapKey({ name: world.keyVersion, ...wrap, resource: target.disk }));
  return async (work) => {
    const over = new AbortController();
    const repeat = async (each: readonly (() => Promise<number>)[]): Promise<readonly number[]> => {
      const latencies: number[] = [];
      const repeatOne = async (call: () => Promise<number>): Promise<void> => {
        do {
          latencies.push(await call());
          await sleep(pauseMs);
        } while (!over.signal.aborted);
      };
      await Promise.all(each.map(repeatOne));
      return latencies;
    };
    const callers = <Call>(call: Call): readonly Call[] => Array.from({ length: callerCount }, () => call);
    const [starts, reads, wraps] = await Promise.all([
      repeat(world.machines.map((machine) => () => start(machine))),
      repeat(callers(read)),
      repeat(callers(wrapOne)),
      work().finally(() => over.abort()),
    ]);
    return { start: starts, read: reads, wrap: wraps };
  };
};
