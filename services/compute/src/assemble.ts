import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type Assemble, openSubscriptions, type Seams } from '@interlock/host';
import { service } from '@interlock/rpc';
import { authorization } from './authorization.ts';
import { openDisks } from './disk-service/disks.ts';
import { openVmHosts } from './fleet/assemble-fleet.ts';
import type { VmHostTerms } from './fleet/vm-hosts.ts';
import { FleetGuests } from './guests/fleet-guests.ts';
import { type Guests, ownGuests } from './guests/guests.ts';
import type { VmHost } from './guests/vm-host.ts';
import { accessLossApi } from './losses/access-loss-api.ts';
import { KeyReturns } from './losses/key-returns.ts';
import { KeyStops } from './losses/key-stops.ts';
import { openLosses } from './losses/losses.ts';
import { LostDisks } from './losses/lost-disks.ts';
import { nextStarts } from './losses/next-starts.ts';
import { openSetOptions } from './losses/set-options.ts';
import { meterStops } from './losses/stop-metrics.ts';
import { openNoteMismatches } from './processes/content-mismatches.ts';
import { followDecisions } from './processes/decisions.ts';
import { Engine } from './processes/engine.ts';
import { FleetClosing } from './processes/fleet-closing.ts';
import { guardedGuests, machineShares, shareOf } from './processes/machine-shares.ts';
import { Sweep } from './processes/sweep.ts';
import { toFact } from './published.ts';
import { diskReactor, setReactor } from './reactor.ts';
import { vmApi } from './vm/api.ts';
import { virtualMachines } from './vm/decider.ts';
import { guestEndedApi } from './vm/guest-ended-api.ts';
import { impactApi } from './vm/impact-api.ts';
import { diskPlanner } from './vm/planning.ts';
import { readApi } from './vm/read-api.ts';

/** Settings of compute. */
export interface ComputeSettings {
  /** What runs the guests; `hosts`: VM hosts, which register with `vmHosts`. */
  readonly driver: VmHost | 'hosts';
  /** How long a create, start, restart or attach is retried without a definite answer. */
  readonly startTimeoutMs: number;
  /** How long a guest may take to shut down before it is ended (VM-42). */
  readonly guestStopTimeoutMs: number;
  /** Bound of a revocation: machines that are off later are counted. */
  readonly leaseTtlMs: number;
  /** The interval of the sweep, in milliseconds. */
  readonly sweepIntervalMs: number;
  readonly dataDisksMax: number;
  /** Calls of the disk service at once. */
  readonly diskCallsMax: number;
  /** VM hosts register with these terms; absent where none may, because this process runs the guests. */
  readonly vmHosts?: VmHostTerms;
}

/** The guests at VM hosts. */
const fleetGuests = (
  { connectTo, clock, scope }: Seams<unknown>,
  { fleet: hosts, guard }: Awaited<ReturnType<typeof openVmHosts>>,
): Guests => {
  const guests = new FleetGuests({ hosts, guard, connectTo, clock, signal: scope.signal });
  scope.defer('connections to VM hosts', async () => guests.close());
  return guests;
};

/** Assembles compute. */
export const assemble: Assemble<ComputeSettings> = async (seams) => {
  const { store, openCategory, clock, random, log, tracer, meter, settings, authorize, client, partitions } = seams;
  const { startTimeoutMs, guestStopTimeoutMs, dataDisksMax, diskCallsMax } = settings;
  const vms = await openCategory(virtualMachines);
  const vmHosts = await openVmHosts(seams, vms, settings.vmHosts);
  const all = settings.driver === 'hosts' ? fleetGuests(seams, vmHosts) : ownGuests(settings.driver);
  // Machines with guests are divided among the replicas; without guests any replica may work on any machine.
  const isDivided = all.hasGuests;
  const holds = (vm: string): boolean => !isDivided || partitions.holds(shareOf(vm));
  const guests = isDivided ? guardedGuests(all, holds) : all;
  const losses = openLosses(store);
  const diskClient = client('disk', DiskServiceDefinition);
  const disks = openDisks({ client: diskClient, clock, random, tracer, callsMax: diskCallsMax });
  // Calls that users wait for do not queue behind the disks of a whole fleet.
  const userDisks = openDisks({ client: diskClient, clock, random, tracer, callsMax: diskCallsMax });
  const measureStops = meterStops(meter, settings.leaseTtlMs);
  const work = { vms, disks, guests, losses, clock, random, log, measureStops, startTimeoutMs, guestStopTimeoutMs };
  const engine = new Engine({ ...work, isOurs: holds, tracer });
  if (isDivided) for (const share of machineShares) partitions.keep(share, (signal) => engine.serve(share, signal));
  const following = isDivided ? [followDecisions({ store, engine, clock, log, from: await store.head() })] : [];
  if (settings.vmHosts !== undefined) await vmHosts.start(engine);
  const isOurs = (vm: string): boolean => engine.isOurs(vm);
  const preempt = (ids: readonly string[]): void => engine.preempt(ids);
  const begin = (ids: readonly string[]): void => (guests.hasGuests ? engine.preempt(ids) : engine.kick(ids));
  const closing = new FleetClosing({ vms, disks, engine, clock, random, log });
  const lossParts = { vms, disks: userDisks, guests, losses, clock, random, measure: measureStops };
  const stops = new KeyStops({ ...lossParts, preempt, closing });
  const plan = diskPlanner({ disks: userDisks, authorize });
  const subscriptions = openSubscriptions(client('identity', IdentityServiceDefinition));
  const lost = new LostDisks({ ...lossParts, isOurs, begin });
  const options = openSetOptions(store);
  const returns = new KeyReturns({
    vms,
    losses,
    options,
    clock,
    random,
    resume: (machines) => engine.resume(machines),
    closing,
  });
  const intervalMs = settings.sweepIntervalMs;
  const sweep = new Sweep({
    ...work,
    disks: userDisks,
    lost,
    stops,
    returns,
    nextStarts: nextStarts(work),
    noteMismatches: openNoteMismatches({ ...work, meter }),
    engine,
    closing,
    intervalMs,
  });

  const api = service({
    definition: ComputeServiceDefinition,
    implementation: {
      ...vmApi({ store, vms, clock, log, engine, authorize, subscriptions, plan, dataDisksMax }),
      ...readApi({ store, vms, losses, guests }),
      ...accessLossApi({ stops, lost, losses, returns, clock }),
      ...impactApi({ vms }),
      ...vmHosts.api,
      ...guestEndedApi({ vms, clock, random, engine }),
    },
    authorization,
  });

  return {
    services: [api],
    toFact,
    reactions: [
      { source: 'disk-encryption-set', handlers: setReactor({ store, stops, returns, losses, options, clock }) },
      { source: 'disk', handlers: diskReactor({ returns }) },
    ],
    background: [
      (signal) => engine.run(signal),
      ...following,
      (signal) => closing.run(signal),
      (signal) => sweep.run(signal),
    ],
  };
};
