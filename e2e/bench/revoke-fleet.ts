import { randomBytes } from 'node:crypto';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import type { Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import type { BenchOptions } from './bench.ts';
import { backendsOf, cpuMs } from './fleet/cpu.ts';
import { type Fleet, openFleet } from './fleet/fleet.ts';
import { openFleetFloor } from './fleet/floor.ts';
import { highestPeak, resetPeaks } from './fleet/memory.ts';
import { type ToldFacts, toldFacts } from './fleet/told-facts.ts';
import { type Measurement, measurement, percentile, timed } from './measure.ts';

/** Machines that must stop, when no size is asked for. */
const sizes = [1, 1_000, 10_000];
/** A revocation of any size must be over by then. */
const stopMs = 300_000;

/** Rounds that are measured. */
const roundsOf = (size: number): number => (size <= 100 ? 30 : size <= 1_000 ? 7 : size <= 10_000 ? 3 : 2);
/** From here on a round is long enough to warm up by itself, and the first one counts as well. */
const warmSize = 50_000;

/**
 * How long it takes from `DisableKeyVersion` called until the last machine under the key is stored, told and listed as
 * stopped. The machines have no guests, several sets and real wrapped DEKs; a third is off the key, some have ultra disks.
 * Beside it, in turn and on the same servers, the floor of `fleet/floor.ts`.
 */
export const revokeFleet = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const measured: Measurement[] = [];
  for (const size of options.size === undefined ? (options.smoke ? [1] : sizes) : [options.size])
    measured.push(await revokeOne(options, size, scope));
  return measured;
};

const revokeOne = async ({ smoke, data }: BenchOptions, size: number, scope: Scope): Promise<Measurement> => {
  const name = `bench_${randomBytes(4).toString('hex')}`;
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name,
    temporary: true,
    // The sweep asks about every disk of a fleet; it is what finds losses that nobody told, and none of those is measured.
    settings: { GUEST_DRIVER: 'idle', SWEEP_INTERVAL_MS: '3600000' },
  });
  scope.defer('cloud', cloud.stop);
  const outside = openOutside(cloud);
  scope.defer('clients', async () => outside.close());
  const clients = outside.administrator;
  const volumeFolder = data.path('services', 'disk', 'volumes');
  const fleet = await openFleet({ cloud, clients, volumeFolder }, size, scope);
  const { natsUrl } = cloud;
  const told = await toldFacts({ natsUrl, stream: `${name}_interlock_compute`, type: 'VmStopped' }, scope);

  const ours: number[] = [];
  const floors: number[] = [];
  resetPeaks(cloud);
  const first = await timed(() => revoke(clients, fleet, told));
  const floor = await openFleetFloor(fleet, { natsUrl, factBytes: told.bytes() }, scope);
  const firstFloor = await timed(floor);
  if (size >= warmSize) {
    ours.push(first);
    floors.push(firstFloor);
  }
  const peaks: { service: string; mib: number }[] = [];
  let cpu: Readonly<Record<string, number>> = {};
  const rounds = smoke ? 1 : roundsOf(size);
  while (ours.length < rounds) {
    await restore(clients, fleet);
    resetPeaks(cloud);
    const backends = await backendsOf(fleet.computeSql);
    const perMachine = (ms: number): number => Math.round((ms / size) * 1_000);
    const [server, service] = [cpuMs(backends), cpuMs([cloud.pid('compute')])];
    ours.push(await timed(() => revoke(clients, fleet, told)));
    const [serverAfter, serviceAfter] = [cpuMs(backends), cpuMs([cloud.pid('compute')])];
    cpu = { computeCpu: perMachine(serviceAfter - service), postgresCpu: perMachine(serverAfter - server) };
    const floorServer = cpuMs(backends);
    floors.push(await timed(floor));
    cpu = { ...cpu, floorPostgresCpu: perMachine(cpuMs(backends) - floorServer) };
    await assertListed(clients, fleet);
    peaks.push(highestPeak(cloud));
  }
  const peak = peaks.reduce((most, one) => (one.mib > most.mib ? one : most));
  return measurement({ bench: 'revoke-fleet', size, unit: 'ms' }, ours, floors, {
    p95: Number(percentile(ours, 0.95).toFixed(2)),
    floorP95: Number(percentile(floors, 0.95).toFixed(2)),
    microsecondsPerMachine: Number(((percentile(ours, 0.5) / size) * 1_000).toFixed(2)),
    // Microseconds of processor time a machine in the last round: what the figures above do not say on a busy machine.
    ...cpu,
    peakMib: peak.mib,
    peakOf: peak.service,
    fleet: fleet.size,
    messages: told.messages(),
  });
};

/** Takes the key away; resolves when the last stop was told and the machine it is about is listed as stopped. */
const revoke = async (clients: Clients, fleet: Fleet, told: ToldFacts): Promise<void> => {
  told.begin();
  await clients.keyVault.disableKeyVersion({ name: fleet.keyVersion });
  const limit = new AbortController();
  const late = setTimeout(() => limit.abort(), stopMs);
  const tooLate = new Promise<never>((_, reject) => {
    limit.signal.addEventListener('abort', () =>
      reject(new Error(`${told.count()} of ${fleet.stopping} machines were told as stopped within ${stopMs} ms`)),
    );
  });
  await Promise.race([told.reached(fleet.stopping), tooLate]);
  clearTimeout(late);
  // Rows move with their events, so what is told is listed: seen here for the last, and for all of them after the round.
  const { virtualMachines } = await clients.compute.listVirtualMachines({
    parent: fleet.group,
    powerState: 'STOPPED',
    pageSize: 1,
  });
  if (virtualMachines.length === 0) throw new Error('a machine that is told as stopped is not listed as such');
};

/** Every machine of the fleet is listed, those that had to stop as stopped because of the key, all others as running. */
const assertListed = async (clients: Clients, { group, stopping, size }: Fleet): Promise<void> => {
  const counts = { stopped: 0, running: 0 };
  let pageToken = '';
  do {
    const page = await clients.compute.listVirtualMachines({ parent: group, pageSize: 1_000, pageToken });
    for (const { powerState, stopReason } of page.virtualMachines) {
      if (powerState === 'STOPPED' && stopReason?.reason === 'KEY_DISABLED') counts.stopped += 1;
      if (powerState === 'RUNNING') counts.running += 1;
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  if (counts.stopped !== stopping || counts.running !== size - stopping) {
    throw new Error(
      `of ${size} machines ${stopping} must be stopped and the others running, not ${counts.stopped} and ${counts.running}`,
    );
  }
};

/** Gives the key back and has every machine run again, and everything come to rest. */
const restore = async (clients: Clients, fleet: Fleet): Promise<void> => {
  await fleet.rest();
  await clients.keyVault.enableKeyVersion({ name: fleet.keyVersion });
  await until('the sets may use their key', async () => {
    const sets = await Promise.all(fleet.lost.map(({ name }) => clients.sets.getDiskEncryptionSet({ name })));
    return sets.every(({ keyAccess }) => keyAccess.every(({ state }) => state === 'AVAILABLE'));
  });
  await fleet.rest();
  await fleet.startAgain();
  await fleet.rest();
  await fleet.computeSql`vacuum rows, events, floor_rows, floor_events`;
};
