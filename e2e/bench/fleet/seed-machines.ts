import { type Category, category, type EventStore } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { evolve, type Vm, virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import type { OpenedDisk, VmEvent } from '../../../services/compute/src/vm/events.ts';
import type { PlannedDisk, Wish, Work } from '../../../services/compute/src/vm/machine.ts';
import { create, start } from '../../../services/compute/src/vm/operations.ts';
import { created, disksOpened, guestStarted } from '../../../services/compute/src/vm/progress.ts';
import { type FleetDisk, type FleetMachine, fleetLocation } from './plan.ts';
import { seedCause } from './seed-cause.ts';

/** Version of a disk's stream after it was made, attached and opened: what `seedDisks` leaves. */
export const openedDiskVersion = 4;

/** Machines put in place as compute itself would have: by its decisions, in its store, in bulk. */
export interface MachineSeeding {
  /** Makes these machines, each running. */
  make(machines: readonly FleetMachine[], accessEpoch: number): Promise<void>;
  /** Starts those of these machines that are off, with their disks opened at that epoch and as often as `opens` says. */
  startAgain(machines: readonly FleetMachine[], accessEpoch: number, opens: number): Promise<void>;
}

type Decision = (vm: Vm) => readonly VmEvent[];

/** What a chain of decisions leads to, each made on what the ones before led to. */
const inTurn =
  (...decisions: readonly Decision[]): Decision =>
  (vm) => {
    const events: VmEvent[] = [];
    let state = vm;
    for (const decide of decisions) {
      const more = decide(state);
      events.push(...more);
      state = more.reduce(evolve, state);
    }
    return events;
  };

/** @param store compute's own */
export const machineSeeding = (store: EventStore): MachineSeeding => {
  const vms: Category<Vm, VmEvent> = category(store, virtualMachines);
  const openedOf = ({ name: disk, sku, set }: FleetDisk, accessEpoch: number, attachEpoch: number): OpenedDisk => ({
    disk,
    sku,
    set: set.name,
    keyVersion: set.keyVersion,
    accessEpoch,
    attachEpoch,
    diskVersion: openedDiskVersion,
  });
  const askOf = (vm: string): { readonly vm: string } & Omit<Work, 'kind'> => ({
    vm,
    ...seedCause(),
    id: systemRandom.uuid(),
    at: systemClock.now(),
  });

  const decideAll = async (
    machines: readonly FleetMachine[],
    decide: (machine: FleetMachine) => Decision,
  ): Promise<number> => {
    const byName = new Map(machines.map((machine) => [machine.name, machine]));
    const { changed } = await vms.transactMany(
      [...byName.keys()],
      (state, id) => {
        const machine = byName.get(id);
        if (!machine) throw new Error(`${id} was not asked for`);
        return decide(machine)(state);
      },
      seedCause(),
    );
    return changed.length;
  };

  return {
    async make(machines, accessEpoch) {
      const made = await decideAll(machines, ({ name, disks }) => {
        const ask = askOf(name);
        const planned = disks.map(
          ({ name: disk, lun, isOs, sku, set }): PlannedDisk => ({
            disk,
            lun,
            isOs,
            deleteWithVm: false,
            sku,
            set: set.name,
            keyVersion: set.keyVersion,
            diskVersion: 2,
          }),
        );
        const wish: Wish = {
          location: fleetLocation,
          ultraSsdEnabled: disks.some(({ sku }) => sku === 'ULTRA'),
          workload: { kind: 'IDLE', ioPerSecond: 1, ioSizeBytes: 4_096 },
          disks: planned.map(({ disk, lun, isOs, deleteWithVm }) => ({ disk, lun, isOs, deleteWithVm })),
        };
        const opened = disks.map((disk) => openedOf(disk, accessEpoch, 1));
        return inTurn(create(ask, wish, planned), created(ask.at, ask.id, opened), guestStarted(ask.at, ask.id));
      });
      if (made !== machines.length) throw new Error(`only ${made} of ${machines.length} machines were made`);
    },
    async startAgain(machines, accessEpoch, opens) {
      await decideAll(machines, ({ name, disks }) => {
        const ask = askOf(name);
        const opened = disks.map((disk) => openedOf(disk, accessEpoch, opens));
        return inTurn(start(ask), disksOpened(ask.at, ask.id, opened), guestStarted(ask.at, ask.id));
      });
    },
  };
};
