import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { Assemble, Seams } from '@interlock/host';
import { service } from '@interlock/rpc';
import { authorization } from '../authorization.ts';
import { diskReads } from '../disk/reads.ts';
import { disks } from '../disk/state.ts';
import { fleetApi } from '../fleet/api.ts';
import { openAvailability } from '../fleet/availability.ts';
import { diskHosts } from '../fleet/decider.ts';
import { contentOf } from '../fleet/draining.ts';
import { Fence } from '../fleet/fence.ts';
import { Fleet } from '../fleet/fleet.ts';
import { meterFleet } from '../fleet/fleet-metrics.ts';
import { openHostLossTable } from '../host/keys/host-losses.ts';
import { openSetKeys } from '../host/keys/set-keys.ts';
import { openLossTable } from '../host/keys/set-losses.ts';
import { openOptionTable, SetOptions } from '../host/keys/set-options.ts';
import { HostLeases } from '../host/owner/lease-row.ts';
import { encryptedResourcesApi } from '../moves/encrypted-resources-api.ts';
import { toFact } from '../published.ts';
import { reactions } from '../reactor.ts';
import { snapshots } from '../snapshot/decider.ts';
import { snapshotReads } from '../snapshot/reads.ts';
import { dataElsewhere } from './data-api.ts';
import { showAsHosts, withoutDisks } from './described.ts';
import { HostLinks } from './host-links.ts';
import { routedApi } from './routed-api.ts';
import { Router } from './router.ts';
import { WithoutHost } from './without-host.ts';

/** Settings of a control process: it has no folder, no key and no NBD. */
export interface ControlSettings {
  /** How long a host may use its volumes after a renewal. */
  readonly hostLeaseTtlMs: number;
  /** Longest duration of a call, in milliseconds: that of the hosts. */
  readonly callMaxMs: number;
}

/** What control processes know of the store: disks, snapshots and hosts. */
const openRecords = async ({ store, openCategory, clock, log, meter, settings, scope }: Seams<ControlSettings>) => {
  const records = { disks: await openCategory(disks), snapshots: await openCategory(snapshots) };
  const hosts = await openCategory(diskHosts);
  const hostLeases = new HostLeases(store);
  const countOn = async (host: string): Promise<number> => {
    const content = await contentOf(records, host);
    return content.disks + content.snapshots;
  };
  const fleet = new Fleet({ hosts, leases: hostLeases, clock, log, countOn });
  await fleet.watch(settings.hostLeaseTtlMs / 3, scope.signal);
  scope.defer('disk host metrics', meterFleet({ fleet, meter, countsVolumes: true }));
  return { records, hosts, hostLeases, fleet };
};

/**
 * Assembles disk without volumes: it authenticates, places new disks, passes calls on to the hosts of disks, lists from the store,
 * and publishes and consumes facts for all hosts. Any number of these processes may run.
 */
export const assembleControl: Assemble<ControlSettings> = async (seams) => {
  const { store, clock, log, settings, authorize, client, connectTo, scope } = seams;
  const { records, hosts, hostLeases, fleet } = await openRecords(seams);
  const tables = { losses: openLossTable(store), options: openOptionTable(store) };
  const sets = client('disk-encryption-set', DiskEncryptionSetServiceDefinition);
  const setKeys = openSetKeys(store, sets, new SetOptions());
  const availability = openAvailability({
    // No disk is here.
    ...{ self: '', host: { lossOf: () => undefined, isAnyLost: () => false } },
    ...{ losses: tables.losses, hostLosses: openHostLossTable(store) },
  });

  const links = new HostLinks({ fleet, connectTo, clock });
  scope.defer('connections to disk hosts', async () => links.close());
  const router = new Router({ links, records, clock });
  const show = showAsHosts({ links, availability, fleet, clock });
  const fence = new Fence({ fleet, leases: hostLeases, clock });
  const withoutHost = new WithoutHost({ store, disks: records.disks, fence, fleet, show: show.disks, clock });
  const api = service({
    definition: DiskServiceDefinition,
    implementation: {
      ...routedApi({ router, links, withoutHost, sets, log }),
      ...diskReads({ disks: records.disks, host: withoutDisks, availability, show: show.disks, authorize }),
      ...snapshotReads({ snapshots: records.snapshots, show: show.snapshots }),
      ...encryptedResourcesApi({ ...records, setKeys }),
      ...fleetApi({
        ...records,
        store,
        hosts,
        fleet,
        leases: hostLeases,
        clock,
        responds: (host) => links.responds(host),
      }),
    },
    authorization,
  });
  // Hosts receive the facts themselves; this process stores them.
  const handlers = reactions({ ...tables, apply: () => undefined, clock });
  return {
    services: [api, dataElsewhere({ disks: records.disks, fleet })],
    toFact,
    reactions: [{ source: 'disk-encryption-set', handlers }],
    server: { deadlineMaxMs: settings.callMaxMs },
  };
};
