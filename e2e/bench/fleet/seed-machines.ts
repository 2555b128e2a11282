import { type Category, category, type EventStore, type Sql } from '@interlock/event-store';
import { systemClock, systemRandom } from '@interlock/runtime';
import { evolve, virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import type { OpenedDisk, VmEvent } from '../../../services/compute/src/vm/events.ts';
import type { PlannedDisk, Wish, Work } from '../../../services/compute/src/vm/machine.ts';
import { create, start } from '../../../services/compute/src/vm/operations.ts';
import { created, disksOpened, guestStarted } from '../../../services/compute/src/vm/progress.ts';
import type { Vm } from '../../../services/compute/src/vm/state.ts';
import { inTurn } from './in-turn.ts';
import { type FleetDisk, type FleetMachine, fleetLocation, machineIdOf } from './plan.ts';
import { seedCause } from './seed-cause.ts';
import { type Original, type StreamCopy, streamCopies } from './stream-copies.ts';

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

/**
 * @param store compute's own
 * @param sql its database
 */
export const machineSeeding = ({ store, sql }: { readonly store: EventStore; readonly sql: Sql }): MachineSeeding => {
  const vms: Category<Vm, VmEvent> = category(store, virtualMachines);
  const chain = inTurn(evolve);
  const storeCopies = streamCopies(sql, vms.table);
  /** The first machine of each kind: decided, and copied for all others. */
  const originals = new Map<string, Original>();
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
      const first: FleetMachine[] = [];
      const copies: StreamCopy[] = [];
      for (const machine of machines) {
        const { name: id, disks } = machine;
        const texts = [machineIdOf(id)];
        const kind = disks.map(({ sku, set }) => `${sku} ${set.name}`).join();
        const original = originals.get(kind);
        if (original) {
          copies.push({ original, id, texts });
        } else {
          originals.set(kind, { id, texts });
          first.push(machine);
        }
      }
      const made = await decideAll(first, ({ name, disks }) => {
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
        return chain(create(ask, wish, planned), created(ask.at, ask.id, opened), guestStarted(ask.at, ask.id));
      });
      if (made !== first.length) throw new Error(`only ${made} of ${first.length} machines were made`);
      await storeCopies(copies);
    },
    async startAgain(machines, accessEpoch, opens) {
      await decideAll(machines, ({ name, disks }) => {
        const ask = askOf(name);
        const opened = disks.map((disk) => openedOf(disk, accessEpoch, opens));
        return chain(start(ask), disksOpened(ask.at, ask.id, opened), guestStarted(ask.at, ask.id));
      });
    },
  };
};
