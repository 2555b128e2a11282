import type { Bench } from './bench.ts';
import { openFleetFloor } from './fleet/floor.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { cpuDetails, peakDetails, resetPeaks } from './fleet/processes.ts';
import { measurement, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

const defaultSize = 10_000;
/** Machines that are started, at most. */
const startsMax = 10_000;

/**
 * How fast a fleet of `size` machines is restored. Two lines:
 * - from `EnableKeyVersion` until compute has stored for every machine that it may start; floor: `fleet/floor.ts` for these rows
 * - from the first `StartVirtualMachines` until the last machine is published as running, each disk unwrapped; floor: the private operations of `openssl speed`
 *
 * Both start when the disks of the stopped machines are closed.
 */
export const restoreFleet: Bench = async (options, scope) => {
  const { smoke, size = smoke ? 2 : defaultSize } = options;
  const fleet = await openFleet(options, size, scope);
  const stopped = await fleet.countFacts('VmStopped', scope);
  const started = await fleet.countFacts('VmStarted', scope);
  const count = Math.min(size, startsMax);
  const [accessMs, floorMs, startMs] = [[] as number[], [] as number[], [] as number[]];
  const peaks: ReturnType<typeof peakDetails>[] = [];
  let floor: (() => Promise<void>) | undefined;
  let [disks, accessCpu, startCpu] = [0, {}, {}];
  const measureCpu = async (machines: number, work: () => Promise<unknown>) => {
    const before = await fleet.cpuTimes();
    const tookMs = await timed(work);
    return { tookMs, cpu: cpuDetails(before, await fleet.cpuTimes(), { count: machines, tookMs }) };
  };
  for (let round = 0; round < (smoke || size > 10_000 ? 1 : 3); round++) {
    if (round > 0) await fleet.restore(count);
    await fleet.revoke(stopped);
    await fleet.rest();
    await fleet.disksClosed();
    resetPeaks(fleet.cloud);
    const access = await measureCpu(size, () => fleet.restoreAccess());
    accessMs.push(access.tookMs);
    accessCpu = access.cpu;
    if (floor === undefined) {
      floor = await openFleetFloor(fleet, { factBytes: 0, lastEvent: 'KeyAccessReturned', eventsEach: 1 }, scope);
      await floor();
    }
    floorMs.push(await timed(floor));
    await fleet.rest();
    const starts = await measureCpu(count, async () => {
      disks = await fleet.startMachines(count, started);
    });
    startMs.push(starts.tookMs);
    startCpu = starts.cpu;
    peaks.push(peakDetails(fleet.cloud));
  }
  const { decrypt } = await rsaSpeed(2048, smoke ? 1 : 2);
  const peak = peaks.reduce((most, one) => (one.peakMib > most.peakMib ? one : most));
  return [
    measurement({ bench: 'restore-fleet', size, unit: 'ms' }, accessMs, floorMs, {
      of: 'key enabled, every machine free to start',
      ...peak,
      ...accessCpu,
    }),
    measurement({ bench: 'restore-fleet', size: count, unit: 'ms' }, startMs, [(disks / decrypt) * 1_000], {
      of: 'so many machines started, each disk unwrapped',
      unwraps: disks,
      ...peak,
      ...startCpu,
    }),
  ];
};
