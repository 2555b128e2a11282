import type { KeyObject } from 'node:crypto';
import { location } from '../../cloud/world.ts';

/** A set whose disks a fleet has, and the key it is under. */
export interface FleetSet {
  readonly name: string;
  /** `principals/<uuid>`: the set's identity. */
  readonly principal: string;
  readonly keyVersion: string;
  /** The set's generation its DEKs are wrapped under. */
  readonly generation: number;
  /** What they are wrapped by. */
  readonly publicKey: KeyObject;
}

/** A disk to be put in place. */
export interface FleetDisk {
  readonly name: string;
  readonly isOs: boolean;
  readonly lun: number;
  readonly sku: 'PREMIUM_SSD' | 'ULTRA';
  readonly set: FleetSet;
}

/** A machine to be put in place, running. */
export interface FleetMachine {
  readonly name: string;
  readonly disks: readonly FleetDisk[];
  /** Whether it has a disk under the key that is going to be lost for which it must stop. */
  readonly stops: boolean;
}

/** Where the machines of a fleet are, and under which keys. */
export interface FleetPlace {
  /** The resource group. */
  readonly group: string;
  /** Sets under the key that is going to be lost. */
  readonly lost: readonly [FleetSet, ...FleetSet[]];
  /** A set under another key. */
  readonly kept: FleetSet;
}

/** One in so many machines has an ultra disk as well. */
const ultraEvery = 20;

/** The last part of a machine's name, which the names of its disks begin with. */
export const machineIdOf = (machine: string): string => machine.slice(machine.lastIndexOf('/') + 1);

/** The region of every machine and disk. */
export const fleetLocation = location;

/**
 * The machines of a fleet of which `stopping` must stop: half as many beside them are off the lost key, so that these are a
 * third of all, in turn with the others. Every twentieth of both has an ultra data disk under the lost key: the one stops
 * because of its OS disk, the other keeps running (CMK-102).
 */
export function* planFleet(stopping: number, place: FleetPlace): Generator<FleetMachine> {
  let [toStop, beside] = [stopping, Math.ceil(stopping / 2)];
  for (let n = 0; toStop + beside > 0; n++) {
    // Two that stop, then one that does not, for as long as there are both.
    const isBeside = toStop === 0 || (n % 3 === 2 && beside > 0);
    if (isBeside) beside -= 1;
    else toStop -= 1;
    const lostSet = place.lost[(isBeside ? beside : toStop) % place.lost.length] ?? place.lost[0];
    const id = `f${String(n).padStart(7, '0')}`;
    const disk = (kind: string, more: Pick<FleetDisk, 'isOs' | 'sku' | 'set'>): FleetDisk => ({
      name: `${place.group}/disks/${id}-${kind}`,
      lun: 0,
      ...more,
    });
    const os = disk('os', { isOs: true, sku: 'PREMIUM_SSD', set: isBeside ? place.kept : lostSet });
    const hasUltra = Math.floor(n / 3) % ultraEvery === ultraEvery - 1;
    yield {
      name: `${place.group}/virtualMachines/${id}`,
      disks: hasUltra ? [os, disk('ultra', { isOs: false, sku: 'ULTRA', set: lostSet })] : [os],
      stops: !isBeside,
    };
  }
}
