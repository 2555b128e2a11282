import { addressOfReplica, type Replica } from '@interlock/host';
import type { Clock } from '@interlock/runtime';
import {
  type SimulatedDriver,
  sharedGuests,
  simulatedDriver,
} from '../../../services/compute/src/guests/simulated-driver.ts';
import type { GuestDisk } from '../../../services/compute/src/guests/vm-host.ts';
import type { Placement, PlacementFiles } from '../../../services/compute/src/vm-host/placements.ts';
import { replicaOfVmHost, type VmHostPart, vmHostPart } from './parts.ts';

/** A process that runs guests for compute. Its guests and its placements survive its end. */
export interface SimulatedVmHost {
  /** Short name, which is also its part: `vm-host-0`. */
  readonly name: VmHostPart;
  readonly replica: Replica;
  /** Where compute reaches it. */
  readonly address: string;
  readonly driver: SimulatedDriver;
  readonly files: PlacementFiles;
  /** Placements that it stored after a newer one of their machine, or again after their stop, as texts. */
  readonly outdated: readonly string[];
  /** Whether its machine was lost with its guests, at least once. */
  readonly wasLost: boolean;
  /** Whether its machine is lost, and no other takes its place. */
  readonly isGone: boolean;
  /** Ends its guests and empties its folder. @param isReplaced whether another machine takes its place */
  loseMachine(isReplaced: boolean): void;
}

/** A guest that runs. */
export interface RunningGuest {
  /** Full name of its machine. */
  readonly vm: string;
  /** Short name of its VM host; undefined if compute runs it. */
  readonly host: VmHostPart | undefined;
  /** Of two guests of one machine, the later one has the higher number. */
  readonly run: number;
  readonly disks: readonly GuestDisk[];
}

/** The guests of a world, wherever they run. */
export interface SimulatedGuests extends Pick<SimulatedDriver, 'slowToStart' | 'slowToStop'> {
  /** Disks of the guest of each machine: of two, those of the later one. */
  readonly guests: ReadonlyMap<string, readonly GuestDisk[]>;
  /** Every guest. */
  all(): readonly RunningGuest[];
}

/** Guests of a VM host: more than a history has machines. */
export const GUEST_CAPACITY = 1_000;

/** The guests of a world, and the drivers that run them. */
export interface OpenedGuests {
  readonly guests: SimulatedGuests;
  /** The driver of compute, if there is no VM host. */
  readonly own: SimulatedDriver;
  readonly vmHosts: readonly SimulatedVmHost[];
}

/** @param count of VM hosts; 0: compute runs the guests itself */
export const openGuests = (clock: Clock, count: number): OpenedGuests => {
  const shared = sharedGuests();
  const own = simulatedDriver(clock, shared);
  const vmHosts = Array.from({ length: count }, (_, place) => openVmHost(place, simulatedDriver(clock, shared)));
  const drivers = [{ name: undefined, driver: own }, ...vmHosts];
  const all = (): readonly RunningGuest[] =>
    drivers
      .flatMap(({ name: host, driver: { guests, runs } }) =>
        [...guests].map(([vm, disks]) => ({ vm, host, run: runs.get(vm) ?? 0, disks })),
      )
      .toSorted((one, other) => one.run - other.run);
  const { slowToStart, slowToStop } = shared;
  const guests: SimulatedGuests = {
    ...{ slowToStart, slowToStop, all },
    get guests() {
      return count === 0 ? own.guests : new Map(all().map(({ vm, disks }) => [vm, disks]));
    },
  };
  return { guests, own, vmHosts };
};

const openVmHost = (place: number, driver: SimulatedDriver): SimulatedVmHost => {
  const replica = replicaOfVmHost(place);
  const placements = new Map<string, Placement>();
  const outdated: string[] = [];
  let isGone = false;
  let wasLost = false;
  return {
    get wasLost() {
      return wasLost;
    },
    get isGone() {
      return isGone;
    },
    ...{ name: vmHostPart(place), replica, address: addressOfReplica(replica), driver, outdated },
    files: {
      read: () => [...placements.values()],
      put(placement) {
        const known = placements.get(placement.vm);
        if (known !== undefined && isOutdated(placement, known))
          outdated.push(`placement ${placement.number} of ${placement.vm} after ${known.number}`);
        placements.set(placement.vm, placement);
      },
      remove: (vm) => void placements.delete(vm),
    },
    loseMachine(isReplaced) {
      isGone = !isReplaced;
      wasLost = true;
      driver.restartHost();
      placements.clear();
    },
  };
};

const isOutdated = (placement: Placement, known: Placement): boolean =>
  placement.machineId === known.machineId &&
  (placement.number < known.number || (placement.number === known.number && known.isStopped && !placement.isStopped));
