import { createScope, type Scope } from '@interlock/runtime';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import type { BenchOptions } from './bench.ts';
import type { Fleet } from './fleet/fleet.ts';
import { type FleetCloud, openFleetCloud, usageOfCloud, usedMeanwhile } from './fleet/fleet-cloud.ts';
import { openFleetFloor, vmTable } from './fleet/floor.ts';
import { highestPeak, resetPeaks } from './fleet/memory.ts';
import { planFleet } from './fleet/plan.ts';
import { giveBack, restore, revoke } from './fleet/rounds.ts';
import type { ToldFacts } from './fleet/told-facts.ts';
import { type Measurement, measurement, timed } from './measure.ts';
import { rsaSpeed } from './openssl-speed.ts';

/** Machines a lost key has stopped, when no size is asked for. */
const sizeDefault = 10_000;
/** Most machines that are started; how many a call names, and calls at once: enough to keep both cores busy. */
const startsMax = 10_000;
const callMax = 256;
const callsAtOnce = 2;
/** Everything must be over by then. */
const limitMs = 600_000;
/** How long each part of the RSA floor is measured. */
const rsaSeconds = 2;

/**
 * The way back of a fleet. First how long it takes from `EnableKeyVersion` called until every machine the loss had stopped is
 * stored as free to start, beside the floor of `fleet/floor.ts` for the rows that are written then. Then how long it takes from
 * the first `StartVirtualMachines` asked for until the last of so many machines is told as running, each disk opened with a
 * real unwrap, beside what `openssl speed` needs for as many private operations on the same cores. Neither is measured before
 * the stop is over: disks of machines that are off are closed when nothing else is to be done, and that is no part of a start.
 */
export const restoreFleet = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { smoke, size = smoke ? 2 : sizeDefault } = options;
  const own = createScope();
  scope.defer('fleet', () => own.close());
  const opened = await openFleetCloud(options, size, own);
  const { cloud, clients, fleet } = opened;
  const stopped = await opened.told('VmStopped');
  const started = await opened.told('VmStarted');
  const rounds = smoke ? 1 : size <= 10_000 ? 3 : 1;

  await revoke(clients, fleet, stopped);
  const returns = { ours: [] as number[], floor: [] as number[] };
  const starts: number[] = [];
  let floor: (() => Promise<void>) | undefined;
  let peak = { service: '', mib: 0 };
  const count = Math.min(size, startsMax);
  let disks = 0;
  const cpu: Record<'returns' | 'starts', Readonly<Record<string, number>>> = { returns: {}, starts: {} };
  for (let round = 0; round < rounds; round++) {
    if (round > 0) {
      await restore(clients, fleet);
      await revoke(clients, fleet, stopped);
    }
    await fleet.rest();
    await disksClosed(fleet);
    resetPeaks(cloud);
    const atRest = await usageOfCloud(opened);
    const returnedMs = await timed(() => allReturned(opened));
    cpu.returns = usedMeanwhile([atRest, await usageOfCloud(opened)], { machines: size, tookMs: returnedMs });
    returns.ours.push(returnedMs);
    floor ??= await openFleetFloor(
      fleet,
      { nats: cloud.nats, factBytes: 0, lastEvent: 'KeyAccessReturned', eventsEach: 1 },
      own,
    );
    if (returns.floor.length === 0) await floor();
    returns.floor.push(await timed(floor));
    await fleet.rest();
    const before = await usageOfCloud(opened);
    const tookMs = await timed(async () => {
      disks = await startSome(clients, fleet, count, started);
    });
    cpu.starts = usedMeanwhile([before, await usageOfCloud(opened)], { machines: count, tookMs });
    starts.push(tookMs);
    const most = highestPeak(cloud);
    if (most.mib > peak.mib) peak = most;
  }
  const { decrypt } = await rsaSpeed(2048, smoke ? 1 : rsaSeconds);
  await own.close();
  const memory = { peakMib: peak.mib, peakOf: peak.service };
  return [
    measurement({ bench: 'restore-fleet', size, unit: 'ms' }, returns.ours, returns.floor, {
      ...memory,
      of: 'key enabled, every machine free to start',
      ...cpu.returns,
    }),
    measurement({ bench: 'restore-fleet', size: count, unit: 'ms' }, starts, [(disks / decrypt) * 1_000], {
      ...memory,
      of: 'so many machines started, each disk unwrapped',
      unwraps: disks,
      // Microseconds of processor time a machine in the last round: what the figures above do not say on a busy machine.
      ...cpu.starts,
    }),
  ];
};

/** Resolves when the disks of all machines that the loss has stopped are closed. */
const disksClosed = ({ computeSql: sql }: Fleet): Promise<boolean> =>
  until(
    'the disks of stopped machines are closed',
    async () => {
      const [found] = await sql<{ closing: number }[]>`
        select count(*)::int as closing from rows where table_name = ${vmTable} and row::text like '%"access":"closing"%'`;
      return found?.closing === 0;
    },
    limitMs,
  );

/** Gives the key back; resolves when that is stored for every machine it was in the way of. */
const allReturned = async ({ clients, fleet }: FleetCloud): Promise<void> => {
  const { computeSql: sql, stopping } = fleet;
  const [before] = await sql<{ position: number }[]>`select position from head`;
  const base = before?.position ?? 0;
  await giveBack(clients, fleet);
  await until(
    'every machine is free to start',
    async () => {
      const [now] = await sql<{ position: number }[]>`select position from head`;
      if ((now?.position ?? 0) < base + stopping) return false;
      // A machine under two of the sets hears of a return for each of them, and is free with the last.
      const [found] = await sql<{ blocked: number }[]>`
        select count(*)::int as blocked from rows where table_name = ${vmTable} and row::text like '%"blocked":[{%'`;
      return found?.blocked === 0;
    },
    limitMs,
  );
};

/** Starts so many machines through the API; resolves when the last is told as running. @returns disks they opened */
export const startSome = async (clients: Clients, fleet: Fleet, count: number, started: ToldFacts): Promise<number> => {
  const machines = [];
  for (const machine of planFleet(fleet.stopping, fleet)) if (machine.stops) machines.push(machine);
  const chosen = machines.slice(0, count);
  started.begin();
  let next = 0;
  const asking = async (): Promise<void> => {
    while (next < chosen.length) {
      const names = chosen.slice(next, next + callMax).map(({ name }) => name);
      next += names.length;
      const { outcomes } = await clients.compute.startVirtualMachines({ names });
      for (const { outcome } of outcomes) {
        if (outcome?.$case !== 'starting') throw new Error(`a machine was not started: ${outcome?.value.message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, asking));
  const late = setTimeout(() => {
    throw new Error(`${started.count()} of ${count} machines were told as running within ${limitMs} ms`);
  }, limitMs);
  await started.reached(count);
  clearTimeout(late);
  return chosen.reduce((sum, { disks }) => sum + disks.length, 0);
};
