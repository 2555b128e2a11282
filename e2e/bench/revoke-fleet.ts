import type { Scope } from '@interlock/runtime';
import { type Bench, type BenchOptions, forEachSize } from './bench.ts';
import { openFleetFloor } from './fleet/floor.ts';
import { openGuests } from './fleet/guests.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { cpuDetails, peakDetails, resetPeaks } from './fleet/processes.ts';
import { type Measurement, measurement, percentile, rounded, timed } from './measure.ts';

const roundsOf = (size: number): number => (size <= 100 ? 30 : size <= 1_000 ? 7 : size <= 10_000 ? 3 : 2);
/** Fleets from this size on have disks in use, each once in this many milliseconds. */
const guestsFrom = 1_000;
const guestCount = 50;
const guestPauseMs = 100;
/** From this size on the first round counts: it is long enough to warm up. */
const warmSize = 50_000;

/**
 * Milliseconds from `DisableKeyVersion` until the stop of the last machine is stored, published and listed. `size` is the
 * number of machines that stop; a third of the fleet keeps running. Floor, alternately on the same servers: `fleet/floor.ts`.
 */
export const revokeFleet: Bench = (options, scope) =>
  forEachSize(options, { usual: [1, 1_000, 10_000], smoke: 1 }, scope, async (size, own) => [
    await revokeOne(options, size, own),
  ]);

const revokeOne = async (options: BenchOptions, size: number, scope: Scope): Promise<Measurement> => {
  const fleet = await openFleet(options, size, scope);
  const stopped = await fleet.countFacts('VmStopped', scope);
  const guests = size >= guestsFrom ? await openGuests(fleet, guestCount, guestPauseMs, scope) : undefined;
  const rounds: { tookMs: number; floorMs: number; lastIoMs: number; peakMib: number; peakOf: string }[] = [];
  let floor: (() => Promise<void>) | undefined;
  let cpu = {};
  const isWarmUp = !options.smoke && size < warmSize;
  for (let round = 0; round < (options.smoke ? 1 : roundsOf(size) + Number(isWarmUp)); round++) {
    if (round > 0) await fleet.restore();
    resetPeaks(fleet.cloud);
    const before = await fleet.cpuTimes();
    let since = 0;
    let tookMs = 0;
    const revoke = async (): Promise<void> => {
      since = performance.now();
      tookMs = await timed(() => fleet.revoke(stopped));
      cpu = cpuDetails(before, await fleet.cpuTimes(), { count: size, tookMs });
    };
    const io = await (guests ? guests.during(revoke, true) : revoke());
    const lastIoMs = io ? io.lastSuccess - since : 0;
    floor ??= await openFleetFloor(fleet, { factBytes: stopped.bytes, lastEvent: 'VmStopped', eventsEach: 2 }, scope);
    const beforeFloor = await fleet.cpuTimes();
    const floorMs = await timed(floor);
    const floorCpu = cpuDetails(beforeFloor, await fleet.cpuTimes(), { count: size, tookMs: floorMs });
    cpu = { ...cpu, floorPostgresCpu: floorCpu.postgresCpu ?? 0 };
    await fleet.assertListed();
    rounds.push({ tookMs, floorMs, lastIoMs, ...peakDetails(fleet.cloud) });
  }
  const counted = rounds.slice(Number(isWarmUp));
  const values = counted.map(({ tookMs }) => tookMs);
  const floors = counted.map(({ floorMs }) => floorMs);
  const { peakMib, peakOf } = rounds.reduce((most, one) => (one.peakMib > most.peakMib ? one : most));
  return measurement({ bench: 'revoke-fleet', size, unit: 'ms' }, values, floors, {
    p95: rounded(percentile(values, 0.95)),
    floorP95: rounded(percentile(floors, 0.95)),
    microsecondsPerMachine: rounded((percentile(values, 0.5) / size) * 1_000),
    // Of the last round.
    ...cpu,
    ...(guests
      ? { lastGoodIoMs: rounded(Math.max(...rounds.map(({ lastIoMs }) => lastIoMs))), guests: guestCount }
      : {}),
    peakMib,
    peakOf,
    fleet: fleet.machines().length,
    messages: stopped.messages,
  });
};
