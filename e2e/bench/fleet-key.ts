import { setTimeout as delay } from 'node:timers/promises';
import { benchOf } from './bench.ts';
import { openFleetFloor } from './fleet/floor.ts';
import { openGuests } from './fleet/guests.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { peakDetails, resetPeaks, type Worked } from './fleet/processes.ts';
import { percentile, quantilesOf, rounded, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Fleets of `from` machines or more have disks in use while they are revoked, each once in `pauseMs`. */
const revokedDisks = { from: 1_000, count: 50, pauseMs: 100 };
/** From this size on the first round of a revocation counts: it is long enough to warm up. */
const warmSize = 50_000;
/** Machines of a restored fleet that are started, at most. */
const startsMax = 10_000;
/** Disks that are used during a rotation, each once in this many milliseconds. */
const rotatedDisks = { count: 4, pauseMs: 20 };
/** They are used first to warm up, then without a rotation for comparison. In milliseconds. */
const [warmMs, idleMs] = [3_000, 6_000];

/**
 * Milliseconds from `DisableKeyVersion` until the stop of the last machine is stored, published and listed. `size` is the
 * number of machines that stop; a third of the fleet keeps running. Floor, alternately on the same servers: `fleet/floor.ts`.
 */
export const revokeFleet = benchOf(
  { name: 'revoke-fleet', unit: 'ms', sizes: [1, 1_000, 10_000], smoke: 1, isOfCloud: true },
  async ({ size, options, scope, rounds }) => {
    const fleet = await openFleet(options, size, scope);
    const stopped = await fleet.countFacts('VmStopped', scope);
    const { from, count, pauseMs } = revokedDisks;
    const guests = size >= from ? await openGuests(fleet, count, pauseMs, scope) : undefined;
    let floor: (() => Promise<void>) | undefined;
    let [peakMib, peakOf, lastGoodIoMs] = [0, '', 0];
    const sample = async (round: number) => {
      if (round > 0) await fleet.restore();
      resetPeaks(fleet.cloud);
      const revoked: { since: number; value?: Worked } = { since: 0 };
      const revoke = async (): Promise<void> => {
        revoked.value = await fleet.measured(size, () => {
          revoked.since = performance.now();
          return fleet.revoke(stopped);
        });
      };
      const io = await (guests ? guests.during(revoke, true) : revoke());
      if (io) lastGoodIoMs = Math.max(lastGoodIoMs, io.lastSuccess - revoked.since);
      floor ??= await openFleetFloor(fleet, { factBytes: stopped.bytes, lastEvent: 'VmStopped', eventsEach: 2 }, scope);
      const ofFloor = await fleet.measured(size, floor);
      await fleet.assertListed();
      const peak = peakDetails(fleet.cloud);
      if (peak.peakMib > peakMib) ({ peakMib, peakOf } = peak);
      return { value: revoked.value, floor: ofFloor };
    };
    const roundCount = size <= 100 ? 30 : size <= 1_000 ? 7 : size <= 10_000 ? 3 : 2;
    const samples = await rounds(roundCount, sample, size < warmSize ? 1 : 0);
    const values = samples.map(({ value }) => value?.tookMs ?? Number.NaN);
    const floors = samples.map((each) => each.floor.tookMs);
    const last = samples.at(-1);
    const details = {
      p95: rounded(percentile(values, 0.95)),
      floorP95: rounded(percentile(floors, 0.95)),
      microsecondsPerMachine: rounded((percentile(values, 0.5) / size) * 1_000),
      // Of the last round.
      ...last?.value?.cpu,
      floorPostgresCpu: last?.floor.cpu.postgresCpu ?? 0,
      ...(guests ? { lastGoodIoMs: rounded(lastGoodIoMs), guests: count } : {}),
      ...{ peakMib, peakOf },
      fleet: fleet.machines().length,
      messages: stopped.messages,
    };
    return { values, floors, details };
  },
);

/**
 * How fast a fleet of `size` machines is restored. Two lines:
 * - from `EnableKeyVersion` until compute has stored for every machine that it may start; floor: `fleet/floor.ts` for these rows
 * - from the first `StartVirtualMachines` until the last machine is published as running, each disk unwrapped; floor: the private operations of `openssl speed`
 *
 * Both start when the disks of the stopped machines are closed.
 */
export const restoreFleet = benchOf(
  { name: 'restore-fleet', unit: 'ms', sizes: [10_000], smoke: 2, isOfCloud: true },
  async ({ size, options, scope, usually, rounds }) => {
    const fleet = await openFleet(options, size, scope);
    const stopped = await fleet.countFacts('VmStopped', scope);
    const started = await fleet.countFacts('VmStarted', scope);
    const count = Math.min(size, startsMax);
    let [floor, disks]: [(() => Promise<void>) | undefined, number] = [undefined, 0];
    const sample = async (round: number) => {
      if (round > 0) await fleet.restore(count);
      await fleet.revoke(stopped);
      await fleet.rest();
      await fleet.disksClosed();
      resetPeaks(fleet.cloud);
      const access = await fleet.measured(size, () => fleet.restoreAccess());
      if (floor === undefined) {
        floor = await openFleetFloor(fleet, { factBytes: 0, lastEvent: 'KeyAccessReturned', eventsEach: 1 }, scope);
        await floor();
      }
      const floorMs = await timed(floor);
      await fleet.rest();
      const starts = await fleet.measured(count, async () => {
        disks = await fleet.startMachines(count, started);
      });
      return { access, floorMs, starts, peak: peakDetails(fleet.cloud) };
    };
    const samples = await rounds(size > 10_000 ? 1 : 3, sample, 0);
    const { decrypt } = await rsaSpeed(2048, usually(2));
    const last = samples.at(-1);
    const { peak } = samples.reduce((most, one) => (one.peak.peakMib > most.peak.peakMib ? one : most));
    return [
      {
        values: samples.map(({ access }) => access.tookMs),
        floors: samples.map(({ floorMs }) => floorMs),
        details: { of: 'key enabled, every machine free to start', ...peak, ...last?.access.cpu },
      },
      {
        values: samples.map(({ starts }) => starts.tookMs),
        floors: [(disks / decrypt) * 1_000],
        size: count,
        details: {
          ...{ of: 'so many machines started, each disk unwrapped', unwraps: disks },
          ...{ ...peak, ...last?.starts.cpu },
        },
      },
    ];
  },
);

/**
 * Rewraps a second while the DEKs of a fleet move to a new key version: from `AssignKey` until no set needs the old one, while
 * disks of the same sets are in use. `size` is the number of machines under the key. Floor: one private and one public
 * operation of `openssl speed` for each disk. `ioP99Ratio` is the p99 of reads and writes during the rotation ÷ without one.
 */
export const rotateFleet = benchOf(
  { name: 'rotate-fleet', unit: 'rewraps/s', sizes: [1_000, 10_000], smoke: 2, isOfCloud: true },
  async ({ size, options, scope, usually, rounds }) => {
    const fleet = await openFleet(options, size, scope);
    const guests = await openGuests(fleet, rotatedDisks.count, rotatedDisks.pauseMs, scope);
    const { lost } = fleet.place;
    const moving = fleet.machines().flatMap((machine) => machine.disks.filter(({ set }) => lost.includes(set)));
    const disks = moving.length + rotatedDisks.count;
    await guests.during(() => delay(usually(warmMs, 100)));
    const { tookMs: idle } = await guests.during(() => delay(usually(idleMs, 200)));
    let cpu = {};
    const sample = async () => {
      let rotationMs = 0;
      const io = await guests.during(async () => {
        ({ tookMs: rotationMs, cpu } = await fleet.measured(disks, () => fleet.rotate()));
      });
      const { decrypt, encrypt } = await rsaSpeed(2048, 1);
      return { rate: (disks / rotationMs) * 1_000, floor: 1 / (1 / decrypt + 1 / encrypt), io };
    };
    const samples = await rounds(size > 5_000 ? 1 : 3, sample, 0);
    const busy = samples.flatMap(({ io }) => io.tookMs);
    const [idleP99, busyP99] = [percentile(idle, 0.99), percentile(busy, 0.99)];
    const details = {
      disks,
      idleP99Ms: rounded(idleP99),
      ioP99Ms: rounded(busyP99),
      ioP99Ratio: rounded(busyP99 / idleP99),
      idleIo: idle.length,
      io: busy.length,
      idleIoQuantiles: quantilesOf(idle),
      ioQuantiles: quantilesOf(busy),
      guestLoopP99Ms: rounded(Math.max(...samples.map(({ io }) => io.loopDelayP99Ms))),
      // Of the last round.
      ...cpu,
    };
    return { values: samples.map(({ rate }) => rate), floors: samples.map(({ floor }) => floor), details };
  },
);
