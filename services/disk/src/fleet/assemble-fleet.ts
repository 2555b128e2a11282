import type { Cause } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Control } from '../disk/control.ts';
import { disks } from '../disk/state.ts';
import { HostLeases } from '../host/owner/lease-row.ts';
import type { DiskSettings } from '../settings.ts';
import { snapshots } from '../snapshot/decider.ts';
import { diskHosts } from './decider.ts';
import { Fleet } from './fleet.ts';
import { meterFleet } from './fleet-metrics.ts';
import { ownStreams, refusalOn, refusalToEnd } from './own.ts';
import { Placement } from './placement.ts';
import { registerHost } from './registration.ts';

/** Opens disks, snapshots and disk hosts, as this host works on them. */
export const openFleet = async ({ store, openCategory, clock, log, meter, settings, scope }: Seams<DiskSettings>) => {
  const { host, isOneOfMany = false } = settings;
  const { name: hostName } = host;
  const all = { disks: await openCategory(disks), snapshots: await openCategory(snapshots) };
  const hosts = await openCategory(diskHosts);
  const leases = new HostLeases(store);
  const fleet = new Fleet({ hosts, leases, clock, log });
  // Beside others, the control processes show the hosts.
  if (!isOneOfMany) scope.defer('disk host metrics', meterFleet({ fleet, meter, countsVolumes: false }));
  const placement = new Placement(store, hosts, hostName);
  const own = (refusal: typeof refusalOn): Pick<Control, 'disks' | 'snapshots'> => ({
    disks: ownStreams(all.disks, refusal(hostName, fleet)),
    snapshots: ownStreams(all.snapshots, refusal(hostName, fleet)),
  });
  let advance = (): void => undefined;
  return {
    ofHosts: { ...own(refusalOn), all, ending: own(refusalToEnd), hosts, fleet, placement, hostName },
    leases,
    /** Sets what is done whenever the hosts were read. */
    onFleetRead: (work: () => void): void => {
      advance = work;
    },
    /** Registers this host. Call it when the lease of its folder is held. @throws Rejection as `registerHost` */
    async enter(cause: Cause): Promise<void> {
      await registerHost({ ...all, hosts, host, clock, isOneOfMany, signal: scope.signal }, cause);
      let isReplaced = false;
      await fleet.watch(host.ttlMs / 3, scope.signal, () => {
        advance();
        if (isReplaced || [undefined, host.folder].includes(fleet.folderOf(hostName))) return;
        isReplaced = true;
        log.error('another folder was registered for this disk host in place of its own: this process ends', {
          ...{ diskHost: hostName, folderId: host.folder, registered: fleet.folderOf(hostName) },
        });
        settings.onReplaced?.();
      });
    },
  };
};
