import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type VirtualClock, virtualClock } from '@interlock/runtime';
import { type SimulatedDriver, simulatedDriver } from '../guests/simulated-driver.ts';
import type { GuestPlan } from '../guests/vm-host.ts';
import { PlacedGuests, type PlacementRef } from './placed-guests.ts';
import { placementFiles } from './placement-files.ts';
import { Placements } from './placements.ts';

/** The machine of these tests. */
export const vm = 'subscriptions/s/resourceGroups/g/virtualMachines/vm1';

/** A placement of it. */
export const at = (number: number, machineId = 'id'): PlacementRef => ({ vm, machineId, number });

/** A plan with one disk, whose token says which placement it is of. */
export const planOf = ({ machineId, number }: PlacementRef): GuestPlan => ({
  ...{ machineId, guest: 'PROCESS', workload: { kind: 'IDLE', ioPerSecond: 1, ioSizeBytes: 4_096 } },
  disks: [
    {
      ...{ disk: 'd', lun: 0, isOs: true, sizeBytes: 1, dataAddress: 'a:1', nbdAddress: '' },
      ...{ accessToken: String(number), isContinued: false },
    },
  ],
});

/** A VM host over simulated guests and a folder of its own. */
export interface TestHost {
  readonly clock: VirtualClock;
  readonly driver: SimulatedDriver;
  readonly folder: string;
  guests: PlacedGuests;
  placements: Placements;
  /** Starts another process on the same folder. The guests of the earlier one run. */
  restart(): void;
  start(number: number, machineId?: string): Promise<void>;
  stop(number: number, graceMs?: number): Promise<void>;
  /** The number of the placement whose guest runs. */
  running(): string | undefined;
  remove(): void;
}

/** As a real driver, it has one guest for each machine, and a stop removes the files that a start writes. */
const strictDriver = (clock: VirtualClock): SimulatedDriver => {
  const driver = simulatedDriver(clock);
  const starting = new Set<string>();
  let stopping: readonly string[] = [];
  return {
    ...driver,
    async start(name, plan) {
      if (driver.guests.has(name) || starting.has(name)) throw new Error(`${name} has a guest already`);
      if (stopping.includes(name)) throw new Error(`the files of ${name} are being removed`);
      starting.add(name);
      await driver.start(name, plan).finally(() => starting.delete(name));
    },
    async stop(name, order) {
      stopping = [...stopping, name];
      await driver.stop(name, order);
      stopping = stopping.toSpliced(stopping.indexOf(name), 1);
    },
  };
};

export const openTestHost = (capacity = 10): TestHost => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-vm-host-'));
  const clock = virtualClock();
  const driver = strictDriver(clock);
  const open = () => {
    const placements = new Placements(placementFiles(folder));
    return { placements, guests: new PlacedGuests(driver, placements, capacity) };
  };
  const host: TestHost = {
    ...{ clock, driver, folder, ...open() },
    restart: () => void Object.assign(host, open()),
    start: (number, machineId) => host.guests.start(at(number, machineId), planOf(at(number, machineId))),
    stop: (number, graceMs = 0) => host.guests.stop(at(number), { graceMs }),
    running: () => driver.guests.get(vm)?.[0]?.accessToken,
    remove: () => rmSync(folder, { recursive: true }),
  };
  return host;
};
