import type { Category, CursorMove } from '@interlock/event-store';
import type { Seams } from '@interlock/host';
import type { Engine } from '../processes/engine.ts';
import type { VmEvent } from '../vm/events.ts';
import type { Vm } from '../vm/state.ts';
import { vmHostApi } from './api.ts';
import { vmHostStreams } from './decider.ts';
import { meterVmHosts } from './fleet-metrics.ts';
import { placementGuard } from './placement.ts';
import { Renewals } from './renewals.ts';
import { VmHostFleet, type VmHostTerms, vmHostTermsDefault } from './vm-hosts.ts';
import { VmHostWatch, watchShare } from './watch.ts';

/** Readings of the hosts within their time to live. */
const readingsPerTtl = 10;

/**
 * Opens the VM hosts.
 * @param terms undefined: none may register, because this process runs the guests; those from before can be seen and deleted
 */
export const openVmHosts = async (
  seams: Pick<Seams<unknown>, 'store' | 'openCategory' | 'clock' | 'random' | 'log' | 'meter' | 'scope' | 'partitions'>,
  vms: Category<Vm, VmEvent>,
  terms: VmHostTerms | undefined,
) => {
  const { store, clock, random, log, meter, scope, partitions } = seams;
  const { ttlMs, lostMs } = terms ?? vmHostTermsDefault;
  const hosts = await seams.openCategory(vmHostStreams);
  const renewals = new Renewals(store);
  const fleet = new VmHostFleet({ hosts, renewals, vms, clock, log, ttlMs });
  const periodMs = ttlMs / readingsPerTtl;
  return {
    fleet,
    api: vmHostApi({ store, hosts, renewals, fleet, vms, clock, terms }),
    /** As `placementGuard`. */
    guard: (host: string): Promise<CursorMove> => placementGuard({ store, hosts }, host),
    /** Reads the hosts from now on, and finds lost and draining ones in the replica that keeps the watch. */
    async start(engine: Pick<Engine, 'preempt'>): Promise<void> {
      await fleet.watch(periodMs, scope.signal);
      scope.defer('VM host metrics', meterVmHosts({ fleet, meter }));
      const watch = new VmHostWatch({ store, hosts, fleet, vms, engine, clock, random, log, lostMs, periodMs });
      partitions.keep(watchShare, (signal) => watch.run(signal));
    },
  };
};
