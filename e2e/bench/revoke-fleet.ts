import { createScope, type Scope } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { backendsOf, cpuMs } from './fleet/cpu.ts';
import { openFleetCloud, usageOfCloud, usedMeanwhile } from './fleet/fleet-cloud.ts';
import { openFleetFloor } from './fleet/floor.ts';
import { openGuestIo } from './fleet/guest-io.ts';
import { highestPeak, resetPeaks } from './fleet/memory.ts';
import { assertListed, restore, revoke } from './fleet/rounds.ts';
import { type Measurement, measurement, percentile, timed } from './measure.ts';

/** Machines that must stop, when no size is asked for. */
const sizes = [1, 1_000, 10_000];
/** Rounds that are measured. */
const roundsOf = (size: number): number => (size <= 100 ? 30 : size <= 1_000 ? 7 : size <= 10_000 ? 3 : 2);
/** Disks under the lost key that are read and written meanwhile, in fleets from that size on. */
const guestCount = 50;
const guestsFrom = 1_000;
/** From here on a round is long enough to warm up by itself, and the first one counts as well. */
const warmSize = 50_000;

/**
 * How long it takes from `DisableKeyVersion` called until the last machine under the key is stored, told and listed as
 * stopped. The machines have no guests, several sets and real wrapped DEKs; a third is off the key, some have ultra disks.
 * Beside it, in turn and on the same servers, the floor of `fleet/floor.ts`.
 */
export const revokeFleet = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const measured: Measurement[] = [];
  for (const size of options.size === undefined ? (options.smoke ? [1] : sizes) : [options.size]) {
    // A cloud after the other on the same folder.
    const own = createScope();
    scope.defer('fleet', () => own.close());
    measured.push(await revokeOne(options, size, own));
    await own.close();
  }
  return measured;
};

const revokeOne = async (options: BenchOptions, size: number, scope: Scope): Promise<Measurement> => {
  const opened = await openFleetCloud(options, size, scope);
  const { cloud, clients, fleet, told: listen } = opened;
  const told = await listen('VmStopped');
  const { nats } = cloud;

  const ours: number[] = [];
  const floors: number[] = [];
  const peaks: { service: string; mib: number }[] = [];
  let cpu: Readonly<Record<string, number>> = {};
  const lastIo: number[] = [];
  let floor: (() => Promise<void>) | undefined;
  const guests =
    size >= guestsFrom ? await openGuestIo({ cloud, clients, world: fleet }, guestCount, scope) : undefined;
  const perMachine = (ms: number): number => Math.round((ms / size) * 1_000);
  for (let round = 0; ours.length < (options.smoke ? 1 : roundsOf(size)); round++) {
    if (round > 0) await restore(clients, fleet);
    await guests?.begin();
    resetPeaks(cloud);
    const before = await usageOfCloud(opened);
    const since = performance.now();
    const took = await timed(() => revoke(clients, fleet, told));
    cpu = usedMeanwhile([before, await usageOfCloud(opened)], { machines: size, tookMs: took });
    if (guests) {
      const { lastRead, lastWrite } = await guests.end();
      lastIo.push(Math.max(lastRead, lastWrite) - since);
    }
    floor ??= await openFleetFloor(fleet, { nats, factBytes: told.bytes() }, scope);
    const floorBackends = await backendsOf(fleet.computeSql);
    const floorServer = cpuMs(floorBackends);
    const floorTook = await timed(floor);
    cpu = { ...cpu, floorPostgresCpu: perMachine(cpuMs(floorBackends) - floorServer) };
    await assertListed(clients, fleet);
    peaks.push(highestPeak(cloud));
    // The first round warms up both, unless it is long enough to do that by itself.
    if (round === 0 && size < warmSize && !options.smoke) continue;
    ours.push(took);
    floors.push(floorTook);
  }
  const peak = peaks.reduce((most, one) => (one.mib > most.mib ? one : most));
  return measurement({ bench: 'revoke-fleet', size, unit: 'ms' }, ours, floors, {
    p95: Number(percentile(ours, 0.95).toFixed(2)),
    floorP95: Number(percentile(floors, 0.95).toFixed(2)),
    microsecondsPerMachine: Number(((percentile(ours, 0.5) / size) * 1_000).toFixed(2)),
    // Microseconds of processor time a machine in the last round: what the figures above do not say on a busy machine.
    ...cpu,
    ...(lastIo.length > 0 ? { lastGoodIoMs: Number(Math.max(...lastIo).toFixed(1)), guests: guestCount } : {}),
    peakMib: peak.mib,
    peakOf: peak.service,
    fleet: fleet.size,
    messages: told.messages(),
  });
};
