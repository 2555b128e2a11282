import { setTimeout as delay } from 'node:timers/promises';
import type { Scope } from '@interlock/runtime';
import { type Bench, type BenchOptions, forEachSize } from './bench.ts';
import { openGuests } from './fleet/guests.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { cpuDetails } from './fleet/processes.ts';
import { type Measurement, measurement, percentile, quantilesOf, rounded, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Disks that are used during the rotation, each once in this many milliseconds. */
const guestCount = 4;
const guestPauseMs = 20;
/** Guests run first to warm up, then without a rotation for comparison. In milliseconds. */
const warmMs = 3_000;
const idleMs = 6_000;

/**
 * Rewraps a second while the DEKs of a fleet move to a new key version: from `AssignKey` until no set needs the old one, while
 * disks of the same sets are in use. `size` is the number of machines under the key. Floor: one private and one public
 * operation of `openssl speed` for each disk. `ioP99Ratio` is the p99 of reads and writes during the rotation ÷ without one.
 */
export const rotateFleet: Bench = (options, scope) =>
  forEachSize(options, { usual: [1_000, 10_000], smoke: 2 }, scope, async (size, own) => [
    await rotateOne(options, size, own),
  ]);

const rotateOne = async (options: BenchOptions, size: number, scope: Scope): Promise<Measurement> => {
  const { smoke } = options;
  const fleet = await openFleet(options, size, scope);
  const guests = await openGuests(fleet, guestCount, guestPauseMs, scope);
  const { lost } = fleet.place;
  const moving = fleet.machines().flatMap((machine) => machine.disks.filter(({ set }) => lost.includes(set)));
  const disks = moving.length + guestCount;

  await guests.during(() => delay(smoke ? 100 : warmMs));
  const { tookMs: idle } = await guests.during(() => delay(smoke ? 200 : idleMs));
  const [rates, floors, busy, loopDelays] = [[] as number[], [] as number[], [] as number[], [] as number[]];
  let cpu = {};
  for (let round = 0; round < (smoke || size > 5_000 ? 1 : 3); round++) {
    const before = await fleet.cpuTimes();
    let rotationMs = 0;
    const { tookMs, loopDelayP99Ms } = await guests.during(async () => {
      rotationMs = await timed(() => fleet.rotate());
    });
    cpu = cpuDetails(before, await fleet.cpuTimes(), { count: disks, tookMs: rotationMs });
    rates.push((disks / rotationMs) * 1_000);
    busy.push(...tookMs);
    loopDelays.push(loopDelayP99Ms);
    const { decrypt, encrypt } = await rsaSpeed(2048, 1);
    floors.push(1 / (1 / decrypt + 1 / encrypt));
  }
  const [idleP99, busyP99] = [percentile(idle, 0.99), percentile(busy, 0.99)];
  return measurement({ bench: 'rotate-fleet', size, unit: 'rewraps/s' }, rates, floors, {
    disks,
    idleP99Ms: rounded(idleP99),
    ioP99Ms: rounded(busyP99),
    ioP99Ratio: rounded(busyP99 / idleP99),
    idleIo: idle.length,
    io: busy.length,
    idleIoQuantiles: quantilesOf(idle),
    ioQuantiles: quantilesOf(busy),
    guestLoopP99Ms: rounded(Math.max(...loopDelays)),
    // Of the last round.
    ...cpu,
  });
};
