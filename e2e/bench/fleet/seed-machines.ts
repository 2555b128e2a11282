import { category, type EventStore } from '@interlock/event-store';
import { vmHostName } from '@interlock/local/services.ts';
import { systemClock, systemRandom } from '@interlock/runtime';
import { evolve, virtualMachines } from '../../../services/compute/src/vm/decider.ts';
import type { OpenedDisk, VmEvent } from '../../../services/compute/src/vm/events.ts';
import type { PlannedDisk, VmSpec, Work } from '../../../services/compute/src/vm/machine.ts';
import { create, start } from '../../../services/compute/src/vm/operations.ts';
import { created, disksOpened, guestStarted, placed } from '../../../services/compute/src/vm/progress.ts';
import type { Vm } from '../../../services/compute/src/vm/state.ts';
import { location } from '../../cloud/world.ts';
import { decideInTurn, newCause } from './decide.ts';
import type { FleetDisk, FleetMachine } from './plan.ts';
import { openedDiskVersion } from './seed-disks.ts';

type Decision = (vm: Vm) => readonly VmEvent[];

/** A machine, and the VM host at which it starts. */
type StartedMachine = FleetMachine & { readonly vmHost: string | undefined };

/** Decisions for one machine. @param attachEpoch how often its disks were opened, including this time */
type DecisionsFor = (machine: StartedMachine, accessEpoch: number, attachEpoch: number) => readonly Decision[];

/**
 * @param store compute's own
 * @param vmHosts the machines are spread over so many VM hosts, whose guests they are not; 0: none
 * @returns stores decisions for many machines @throws Error unless each of them changed
 */
export const machineSeeder = (store: EventStore, vmHosts: number) => {
  const machines = category(store, virtualMachines);
  return async (
    fleet: readonly FleetMachine[],
    decisionsFor: DecisionsFor,
    accessEpoch: number,
    attachEpoch: number,
  ): Promise<void> => {
    const byName = new Map(fleet.map((machine) => [machine.name, machine]));
    let next = 0;
    const decide = (state: Vm, name: string) => {
      const machine = byName.get(name);
      if (machine === undefined) return [];
      next += 1;
      const vmHost = vmHosts === 0 ? undefined : `vmHosts/${vmHostName(next % vmHosts)}`;
      return decideInTurn(state, evolve, decisionsFor({ ...machine, vmHost }, accessEpoch, attachEpoch));
    };
    const { changed } = await machines.transactMany([...byName.keys()], decide, newCause());
    if (changed.length !== fleet.length) throw new Error(`changed ${changed.length} of ${fleet.length} machines`);
  };
};

/** Creates a machine and starts it. */
export const createRunning: DecisionsFor = ({ name, disks, vmHost }, accessEpoch, attachEpoch) => {
  const request = requestFor(name);
  const planned = disks.map(
    ({ name: disk, isOs, sku, set }): PlannedDisk => ({
      disk,
      lun: 0,
      isOs,
      deleteWithVm: false,
      sku,
      set: set.name,
      keyVersion: set.keyVersion,
      diskVersion: 2,
    }),
  );
  const requested: VmSpec = {
    location,
    ultraSsdEnabled: disks.some(({ sku }) => sku === 'ULTRA'),
    guest: 'PROCESS',
    workload: { kind: 'IDLE', ioPerSecond: 1, ioSizeBytes: 4_096 },
    disks: planned.map(({ disk, lun, isOs, deleteWithVm }) => ({ disk, lun, isOs, deleteWithVm })),
  };
  const opened = disks.map((disk) => openedDisk(disk, accessEpoch, attachEpoch));
  return [create(request, requested, planned), created(request.at, request.id, opened), ...runs(request, vmHost)];
};

/** Starts a stopped machine. */
export const startStopped: DecisionsFor = ({ name, disks, vmHost }, accessEpoch, attachEpoch) => {
  const request = requestFor(name);
  const opened = disks.map((disk) => openedDisk(disk, accessEpoch, attachEpoch));
  return [start(request), disksOpened(request.at, request.id, opened), ...runs(request, vmHost)];
};

const runs = ({ at, id }: ReturnType<typeof requestFor>, vmHost: string | undefined): readonly Decision[] => [
  ...(vmHost === undefined ? [] : [placed(at, id, vmHost)]),
  guestStarted(at, id),
];

const openedDisk = ({ name: disk, sku, set }: FleetDisk, accessEpoch: number, attachEpoch: number): OpenedDisk => ({
  disk,
  sku,
  set: set.name,
  keyVersion: set.keyVersion,
  accessEpoch,
  attachEpoch,
  diskVersion: openedDiskVersion,
});

const requestFor = (vm: string): { readonly vm: string } & Omit<Work, 'kind'> => ({
  vm,
  ...newCause(),
  id: systemRandom.uuid(),
  at: systemClock.now(),
});
