import { readFileSync } from 'node:fs';
import { openIdentities } from '@interlock/local/bootstrap-identities.ts';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { systemRandom } from '@interlock/runtime';
import { openOutside } from '../cloud/clients.ts';
import { benchOf } from './bench.ts';
import { openFleet } from './fleet/open-fleet.ts';
import type { FleetMachine } from './fleet/plan.ts';

/** Calls of a sample, one after the other. */
const callsEach = 20;

/**
 * Disks opened a second by `OpenDisks` calls of `size` disks, as compute makes them: through a control process, which passes the
 * items on to the host that has the disks. Floor, alternately: the same calls to that host.
 */
export const openDisks = benchOf(
  {
    name: 'open-disks',
    unit: 'disks/s',
    sizes: [1, 64],
    smoke: 2,
    accepts: (size) => size <= 256 || 'at most 256',
    isOfCloud: true,
  },
  async ({ size, options, scope, usually, rounds }) => {
    const fleet = await openFleet({ ...options, diskHosts: options.diskHosts ?? 1 }, size * 3, scope);
    const { principalId, secretFile } = openIdentities(fleet.data, systemRandom).workloads.compute;
    const credentials = { id: principalId, secret: readFileSync(secretFile, 'utf8') };
    const disksAt = (cloud: Pick<LocalCloud, 'addresses' | 'administrator' | 'authorityFile'>) => {
      const outside = openOutside(cloud);
      scope.defer('clients', () => outside.close());
      return outside.as(credentials).disks;
    };
    const [first] = fleet.place.lost;
    const host = (await fleet.clients.disks.listDiskHosts({})).diskHosts[0]?.grpcAddress ?? '';
    const { addresses, administrator, authorityFile } = fleet.cloud;
    const control = disksAt(fleet.cloud);
    const direct = disksAt({ addresses: { ...addresses, disk: host }, administrator, authorityFile });
    // All of one set, so of one host.
    const isOfFirst = ({ disks, stops }: FleetMachine): boolean => stops && disks.every(({ set }) => set === first);
    const items = fleet
      .machines(isOfFirst)
      .flatMap(({ name, disks }) => disks.map((disk) => ({ open: { name: disk.name, virtualMachine: name } })))
      .slice(0, size);
    const rateOf = async (disks: typeof control): Promise<number> => {
      const since = performance.now();
      for (let call = 0; call < usually(callsEach, 1); call++) {
        const { outcomes } = await disks.openDisks({ items });
        for (const { outcome } of outcomes)
          if (outcome?.$case !== 'opened') throw new Error(`a disk was not opened: ${outcome?.value.message}`);
      }
      return ((usually(callsEach, 1) * items.length) / (performance.now() - since)) * 1_000;
    };
    const samples = await rounds(9, async () => ({ value: await rateOf(control), floor: await rateOf(direct) }));
    return {
      values: samples.map(({ value }) => value),
      floors: samples.map(({ floor }) => floor),
      details: { disks: items.length },
    };
  },
);
