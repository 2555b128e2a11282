import type { KeyObject } from 'node:crypto';

/** A set of a fleet and its key. */
export interface FleetSet {
  readonly name: string;
  readonly keyVersion: string;
  /** The set's generation of the DEKs' wraps. */
  readonly generation: number;
  /** Wraps the DEKs. */
  readonly publicKey: KeyObject;
}

/** A disk to create. */
export interface FleetDisk {
  readonly name: string;
  readonly isOs: boolean;
  readonly sku: 'PREMIUM_SSD' | 'ULTRA';
  readonly set: FleetSet;
}

/** A machine to create, running. */
export interface FleetMachine {
  readonly name: string;
  readonly disks: readonly FleetDisk[];
  /** Whether it must stop when the key is disabled. */
  readonly stops: boolean;
}

/** Resource group and sets of a fleet. */
export interface FleetPlace {
  readonly group: string;
  /** Sets under the key that the bench disables. */
  readonly lost: readonly [FleetSet, ...FleetSet[]];
  /** A set under another key. */
  readonly kept: FleetSet;
}

const ultraEvery = 20;

/**
 * The machines of a fleet of which `stopping` must stop. A third of the fleet does not stop: its OS disks are under the kept
 * set. Every twentieth machine has an ultra data disk under a lost set; with a kept OS disk it keeps running (CMK-102).
 */
export function* planFleet(stopping: number, place: FleetPlace): Generator<FleetMachine> {
  let [toStop, toKeep] = [stopping, Math.ceil(stopping / 2)];
  for (let n = 0; toStop + toKeep > 0; n++) {
    const isKept = toStop === 0 || (n % 3 === 2 && toKeep > 0);
    if (isKept) toKeep -= 1;
    else toStop -= 1;
    const lostSet = place.lost[(isKept ? toKeep : toStop) % place.lost.length] ?? place.lost[0];
    const id = `f${String(n).padStart(7, '0')}`;
    const disk = (kind: string, rest: Omit<FleetDisk, 'name'>): FleetDisk => ({
      name: `${place.group}/disks/${id}-${kind}`,
      ...rest,
    });
    const os = disk('os', { isOs: true, sku: 'PREMIUM_SSD', set: isKept ? place.kept : lostSet });
    const hasUltra = Math.floor(n / 3) % ultraEvery === ultraEvery - 1;
    yield {
      name: `${place.group}/virtualMachines/${id}`,
      disks: hasUltra ? [os, disk('ultra', { isOs: false, sku: 'ULTRA', set: lostSet })] : [os],
      stops: !isKept,
    };
  }
}
