import type { RecordedEvent } from '@interlock/event-store';
import type { OpenedDisk, VmEvent } from '../../../services/compute/src/vm/events.ts';
import type { Sku } from '../../../services/compute/src/vm/machine.ts';

/** A disk of a machine, as compute's events have it. */
export interface MachineDisk {
  readonly disk: string;
  readonly sku: Sku;
  readonly isOs: boolean;
  readonly lun: number;
  /** What a stop finds half attached or half detached is freed, not opened again. */
  phase: 'attaching' | 'attached' | 'detaching';
  /** Number of its last unwrap; a loss with a higher one concerns it. */
  accessEpoch: number;
  /** True time at which the open that counts was asked for. */
  askedMs: number;
}

/** A machine that exists, or is being made. */
export interface KnownMachine {
  readonly name: string;
  power: 'creating' | 'starting' | 'running' | 'stopping' | 'stopped' | 'deallocating' | 'deallocated';
  /** True time at which the work under way was asked for. */
  askedMs: number;
  readonly disks: Map<string, MachineDisk>;
  /** Whether a lost key stopped it and nobody started it since. */
  isStoppedByKey: boolean;
}

/** The machines there are, by compute's own committed events: what is held against the guests that really run. */
export interface MachineTruth {
  readonly machines: ReadonlyMap<string, KnownMachine>;
  apply(event: RecordedEvent): void;
}

export const openMachineTruth = (nowMs: () => number): MachineTruth => {
  const machines = new Map<string, KnownMachine>();

  const opened = (machine: KnownMachine, disks: readonly OpenedDisk[]): void => {
    for (const { disk, accessEpoch } of disks) {
      const known = machine.disks.get(disk);
      if (known) Object.assign(known, { accessEpoch, askedMs: machine.askedMs });
    }
  };

  const freeOthers = ({ disks }: KnownMachine): void => {
    for (const [name, { phase }] of disks) if (phase !== 'attached') disks.delete(name);
  };

  const applyTo = (machine: KnownMachine, event: VmEvent): void => {
    const begin = (power: KnownMachine['power']): void => {
      machine.power = power;
      machine.askedMs = nowMs();
    };
    switch (event.type) {
      case 'VmCreated':
        machine.power = 'starting';
        for (const { disk, sku, isOs, lun } of event.disks) {
          machine.disks.set(disk, {
            disk,
            sku,
            isOs,
            lun,
            phase: 'attached',
            accessEpoch: 0,
            askedMs: machine.askedMs,
          });
        }
        opened(machine, event.opened);
        return;
      case 'VmStarting':
        begin('starting');
        return;
      case 'DisksOpened':
        opened(machine, event.opened);
        return;
      case 'VmStarted':
        machine.power = 'running';
        machine.isStoppedByKey = false;
        return;
      case 'VmStartFailed':
        machine.power = 'stopped';
        return;
      case 'VmStopping':
        begin('stopping');
        machine.isStoppedByKey = event.reason !== undefined;
        return;
      case 'VmStopped':
        machine.power = 'stopped';
        return;
      case 'VmDeallocating':
        begin('deallocating');
        return;
      case 'VmDeallocated':
        machine.power = 'deallocated';
        freeOthers(machine);
        return;
      case 'DisksClosed':
        freeOthers(machine);
        return;
      case 'DiskAttachedToVm':
      case 'DiskDetaching': {
        const disk = machine.disks.get(event.disk);
        if (disk) disk.phase = event.type === 'DiskDetaching' ? 'detaching' : 'attached';
        return;
      }
      case 'DiskAttaching':
        machine.askedMs = nowMs();
        machine.disks.set(event.disk.disk, {
          ...event.disk,
          phase: 'attaching',
          accessEpoch: 0,
          askedMs: machine.askedMs,
        });
        return;
      case 'DiskAttachFailed':
      case 'DiskDetachedFromVm':
        machine.disks.delete(event.disk);
        return;
    }
  };

  return {
    machines,
    apply({ stream, type, data }) {
      if (!stream.startsWith('vm-')) return;
      const name = stream.slice('vm-'.length);
      const event = { type, ...data } as unknown as VmEvent;
      if (event.type === 'VmCreationBegun') {
        machines.set(name, {
          name,
          power: 'creating',
          askedMs: nowMs(),
          disks: new Map(),
          isStoppedByKey: false,
        });
      } else if (event.type === 'VmCreationFailed' || event.type === 'VmDeleted') machines.delete(name);
      else {
        const machine = machines.get(name);
        if (machine) applyTo(machine, event);
      }
    },
  };
};
