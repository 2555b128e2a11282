import { randomBytes } from 'node:crypto';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import type { Scope } from '@interlock/runtime';
import { type Clients, openOutside } from '../../cloud/clients.ts';
import type { BenchOptions } from '../bench.ts';
import { backendsOf, cpuMs } from './cpu.ts';
import { type Fleet, openFleet } from './fleet.ts';
import { type ToldFacts, toldFacts } from './told-facts.ts';

/** A cloud of separate processes with a fleet in it. */
export interface FleetCloud {
  readonly cloud: LocalCloud;
  /** The services as the administrator sees them. */
  readonly clients: Clients;
  readonly fleet: Fleet;
  /** Counts facts of compute of that type from now on. */
  told(type: string): Promise<ToldFacts>;
}

/** Processor time of each service, of the server processes of compute's database, and of the bench itself so far, in ms. */
export const cpuOfCloud = async ({
  cloud,
  fleet,
}: Pick<FleetCloud, 'cloud' | 'fleet'>): Promise<Readonly<Record<string, number>>> => ({
  ...Object.fromEntries(serviceNames.map((service) => [service, cpuMs([cloud.pid(service)])])),
  postgres: cpuMs(await backendsOf(fleet.computeSql)),
  bench: cpuMs([process.pid]),
});

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
  const fleet = await openFleet({ cloud, clients, volumeFolder }, stopping, scope);
  const { natsUrl } = cloud;
  return {
    cloud,
    clients,
    fleet,
    told: (type) => toldFacts({ natsUrl, stream: `${name}_interlock_compute`, type }, scope),
  };
};
