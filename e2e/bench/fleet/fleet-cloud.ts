import { randomBytes } from 'node:crypto';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import type { Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../../cloud/clients.ts';
import type { BenchOptions } from '../bench.ts';
import { rounded } from '../measure.ts';
import { backendsOf, type ProcessorTime, processorTime, processTree, shareOfProcessors } from './cpu.ts';
import { type Fleet, openFleet } from './fleet.ts';
import { type ToldFacts, toldFacts } from './told-facts.ts';

/** A cloud of separate processes with a fleet in it. */
export interface FleetCloud {
  readonly cloud: LocalCloud;
  /** The services as the administrator sees them. */
  readonly clients: Clients;
  readonly fleet: Fleet;
  /** Counts facts of compute of that type about machines of the fleet from now on. */
  told(type: string): Promise<ToldFacts>;
}

/** What each part of a cloud had of the processors so far. */
export type CloudUsage = Readonly<Record<string, ProcessorTime>>;

/**
 * Of each service, the server processes of compute's database (`postgres`), those of everything else in Postgres, NATS, and
 * the bench itself: everything that runs, where servers are the bench's own.
 */
export const usageOfCloud = async ({ cloud, fleet }: Pick<FleetCloud, 'cloud' | 'fleet'>): Promise<CloudUsage> => {
  const backends = await backendsOf(fleet.computeSql);
  const services = new Map(serviceNames.map((service) => [cloud.pid(service), service as string]));
  const nameOf = ({ pid, program }: { readonly pid: number; readonly program: string }): string =>
    services.get(pid) ?? (backends.includes(pid) ? 'postgres' : program === 'postgres' ? 'postgresElse' : program);
  const parts = Map.groupBy(processTree(), nameOf);
  return Object.fromEntries([...parts].map(([name, some]) => [name, processorTime(some.map(({ pid }) => pid))]));
};

/** Less than this for one machine is left out, in microseconds. */
const mentioned = 1;

/**
 * What was used between two looks, for a line of the history: microseconds for one machine, by part, and the shares of all
 * processors that they had (`busy`) and waited for (`waited`; more than 1 in all: there was work that had no processor).
 */
export const usedMeanwhile = (
  [before, after]: readonly [CloudUsage, CloudUsage],
  { machines, tookMs }: { readonly machines: number; readonly tookMs: number },
): Readonly<Record<string, number>> => {
  const used = Object.entries(after).map(([name, { ranMs, waitedMs }]) => ({
    name,
    ranMs: ranMs - (before[name]?.ranMs ?? 0),
    waitedMs: waitedMs - (before[name]?.waitedMs ?? 0),
  }));
  const perMachine = (ms: number): number => Math.round((ms / machines) * 1_000);
  const sum = (of: (one: ProcessorTime) => number): number => used.reduce((total, one) => total + of(one), 0);
  return {
    ...Object.fromEntries(
      used.flatMap(({ name, ranMs }) => (perMachine(ranMs) < mentioned ? [] : [[`${name}Cpu`, perMachine(ranMs)]])),
    ),
    busy: rounded(
      shareOfProcessors(
        sum(({ ranMs }) => ranMs),
        tookMs,
      ),
    ),
    waited: rounded(
      shareOfProcessors(
        sum(({ waitedMs }) => waitedMs),
        tookMs,
      ),
    ),
  };
};

/** Starts a cloud and puts a fleet in place, of which so many machines stop with the key. */
export const openFleetCloud = async (
  { data, settings, replicas = 1 }: Pick<BenchOptions, 'data' | 'settings'> & Partial<Pick<BenchOptions, 'replicas'>>,
  stopping: number,
  scope: Scope,
): Promise<FleetCloud> => {
  const name = `bench_${randomBytes(4).toString('hex')}`;
  const cloud = await startLocalCloud({
    data,
    env: process.env,
    name,
    temporary: true,
    replicas,
    // The sweep asks about every disk of a fleet; it is what finds losses that nobody told, and none of those is measured.
    settings: { GUEST_DRIVER: 'idle', SWEEP_INTERVAL_MS: '3600000', ...settings },
  });
  scope.defer('cloud', cloud.stop);
  const outside = openOutside(cloud);
  scope.defer('clients', async () => outside.close());
  const clients = outside.administrator;
  const volumeFolder = data.path('services', 'disk', 'volumes');
  const masterKeyFile = data.path('bootstrap', 'disk.master-key');
  const fleet = await openFleet({ cloud, clients, volumeFolder, masterKeyFile }, stopping, scope);
  const { nats } = cloud;
  return {
    cloud,
    clients,
    fleet,
    told: (type) => toldFacts({ nats, stream: `${name}_interlock_compute`, type, group: fleet.group }, scope),
  };
};
