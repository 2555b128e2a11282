import type { RecordedEvent } from '@interlock/event-store';
import type { MachineSku, OpenedDisk, ReadVmEvent } from '../events/compute.ts';
import { readEvent } from '../events/recorded.ts';

/** A disk of a machine, as compute's events have it. */
export interface MachineDisk {
  readonly disk: string;
  readonly sku: MachineSku;
  readonly isOs: boolean;
  readonly lun: number;
  /** A disk that is still attaching or detaching when its machine stops is released, not opened again. */
  phase: 'attaching' | 'attached' | 'detaching';
  /** Number of its last unwrap; a loss with a higher one concerns it. */
  accessEpoch: number;
  /** True time at which the open that counts was requested. */
  requestedMs: number;
}

/** A machine that exists, or is being created. */
export interface KnownMachine {
  readonly name: string;
  power: 'creating' | 'starting' | 'running' | 'stopping' | 'stopped' | 'deallocating' | 'deallocated';
  /** True time at which the operation in progress was requested. */
  requestedMs: number;
  readonly disks: Map<string, MachineDisk>;
  /** Whether an access loss stopped it and it was not started since. */
  isStoppedByKey: boolean;
}

/** Power state during or after an event. Events that are absent do not change it. */
const powerAfter: Partial<Record<ReadVmEvent['type'], KnownMachine['power']>> = {
  VmCreated: 'starting',
  VmStarting: 'starting',
  VmStarted: 'running',
  VmStartFailed: 'stopped',
  VmStopping: 'stopping',
  VmStopped: 'stopped',
  VmDeallocating: 'deallocating',
  VmDeallocated: 'deallocated',
};

/** The existing machines, from compute's committed events. Judges compare them with the guests that really run. */
export class MachineTruth {
  readonly #machines = new Map<string, KnownMachine>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get machines(): ReadonlyMap<string, KnownMachine> {
    return this.#machines;
  }

  /** Applies an event of compute. */
  apply(recorded: RecordedEvent): void {
    if (!recorded.stream.startsWith('vm-')) return;
    const name = recorded.stream.slice('vm-'.length);
    const event = readEvent<ReadVmEvent>(recorded);
    if (event.type === 'VmCreationStarted') {
      const requestedMs = this.#nowMs();
      this.#machines.set(name, { name, power: 'creating', requestedMs, disks: new Map(), isStoppedByKey: false });
    } else if (event.type === 'VmCreationFailed' || event.type === 'VmDeleted') this.#machines.delete(name);
    else {
      const machine = this.#machines.get(name);
      if (!machine) return;
      machine.power = powerAfter[event.type] ?? machine.power;
      this.#applyPower(machine, event);
      this.#applyDisks(machine, event);
    }
  }

  #applyPower(machine: KnownMachine, event: ReadVmEvent): void {
    switch (event.type) {
      case 'VmStarting':
      case 'VmDeallocating':
      case 'DiskAttaching':
        machine.requestedMs = this.#nowMs();
        return;
      case 'VmStopping':
        machine.requestedMs = this.#nowMs();
        machine.isStoppedByKey = event.reason !== undefined;
        return;
      case 'VmStarted':
        machine.isStoppedByKey = false;
        return;
    }
  }

  #applyDisks(machine: KnownMachine, event: ReadVmEvent): void {
    const { disks, requestedMs } = machine;
    switch (event.type) {
      case 'VmCreated':
        for (const { disk, sku, isOs, lun } of event.disks) {
          disks.set(disk, { disk, sku, isOs, lun, phase: 'attached', accessEpoch: 0, requestedMs });
        }
        noteOpened(machine, event.opened);
        return;
      case 'DisksOpened':
        noteOpened(machine, event.opened);
        return;
      case 'VmDeallocated':
      case 'DisksClosed':
        for (const [name, { phase }] of disks) if (phase !== 'attached') disks.delete(name);
        return;
      case 'DiskAttachedToVm':
      case 'DiskDetaching': {
        const disk = disks.get(event.disk);
        if (disk) disk.phase = event.type === 'DiskDetaching' ? 'detaching' : 'attached';
        return;
      }
      case 'DiskAttaching':
        disks.set(event.disk.disk, { ...event.disk, phase: 'attaching', accessEpoch: 0, requestedMs });
        return;
      case 'DiskAttachFailed':
      case 'DiskDetachedFromVm':
        disks.delete(event.disk);
        return;
    }
  }
}

const noteOpened = (machine: KnownMachine, disks: readonly OpenedDisk[]): void => {
  for (const { disk, accessEpoch } of disks) {
    const known = machine.disks.get(disk);
    if (known) Object.assign(known, { accessEpoch, requestedMs: machine.requestedMs });
  }
};
