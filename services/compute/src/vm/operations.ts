import { Rejection } from '@interlock/event-store';
import type { GuestKind } from '../guests/vm-host.ts';
import type { VmEvent } from './events.ts';
import type { DiskSpec, PlannedDisk, VmDisk, VmSpec, Work, WorkKind } from './machine.ts';
import { type Machine, stopCauseOf, type Vm } from './state.ts';

/** Data disks of a QEMU machine: each has a PCI Express port, which must exist before it boots. */
const qemuDataDisksMax = 8;

/** Most data disks of a machine. @param dataDisksMax of this host */
export const mostDataDisks = (guest: GuestKind, dataDisksMax: number): number =>
  guest === 'QEMU' ? Math.min(qemuDataDisksMax, dataDisksMax) : dataDisksMax;

/** A request of a user: the caller, the time, and the operation id. */
export interface Operation extends Omit<Work, 'kind' | 'isHard' | 'disk' | 'requestId'> {
  /** Full name of the machine, for the errors. */
  readonly vm: string;
}

/** The work an operation leads to. */
const workOf = ({ vm: _vm, ...operation }: Operation, kind: WorkKind, more: Partial<Work> = {}): Work => ({
  ...operation,
  kind,
  ...more,
});

/**
 * Starts the creation of a machine (VM-10). The same request again decides nothing, whatever became of its disks since; after
 * a failed creation it starts over.
 * @throws Rejection ALREADY_EXISTS VIRTUAL_MACHINE_ALREADY_EXISTS if the existing machine was requested differently
 */
export const create =
  (operation: Operation, spec: VmSpec, disks: readonly PlannedDisk[]) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status === 'creating' || vm.status === 'active') {
      const differing = differingFields(vm.spec, spec);
      if (differing.length === 0) return [];
      const differs = differing.join(', ');
      throw new Rejection(
        'ALREADY_EXISTS',
        'VIRTUAL_MACHINE_ALREADY_EXISTS',
        `virtual_machine_id: ${operation.vm} exists with another ${differs}; choose another id`,
        { field: 'virtual_machine_id', name: operation.vm, differs },
      );
    }
    return [{ type: 'VmCreationStarted', spec, disks, work: workOf(operation, 'create'), at: operation.at }];
  };

/** The fields of a request in which two machines differ. */
const differingFields = (one: VmSpec, other: VmSpec): readonly string[] => {
  const [was, is] = [canonical(one), canonical(other)];
  return Object.keys(was).filter((field) => was[field] !== is[field]);
};

/** The fields of a request as text, independent of the order in which a store returns an object's fields. */
const canonical = (spec: VmSpec): Readonly<Record<string, string>> => {
  const { location, ultraSsdEnabled, guest, workload, hostLossPolicy = 'STAY', disks } = spec;
  const text = (isOs: boolean): string =>
    JSON.stringify(
      disks
        .filter((disk) => disk.isOs === isOs)
        .map(({ disk, lun, deleteWithVm, make }: DiskSpec) => [
          disk,
          lun,
          deleteWithVm,
          make === undefined ? null : [make.sku, make.sizeGib, make.encryptionType, make.set],
        ]),
    );
  return {
    location,
    os_disk: text(true),
    data_disks: text(false),
    ultra_ssd_enabled: String(ultraSsdEnabled),
    guest,
    workload: JSON.stringify([workload.kind, workload.ioPerSecond, workload.ioSizeBytes]),
    host_loss_policy: hostLossPolicy,
  };
};

/**
 * Starts a machine that is off (VM-11). From running or on its way there it decides nothing.
 * @throws Rejection FAILED_PRECONDITION OS_DISK_MISSING when its OS disk was detached
 */
export const start =
  (operation: Operation) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating' || isWorkOf(machine, 'start', 'create', 'restart')) return [];
    refuseDeletion(machine, operation.vm, 'start');
    if (machine.power.state === 'running') return [];
    refuseBusy(machine, operation.vm, 'start');
    if (!machine.disks.some(({ isOs }) => isOs)) {
      throw notAllowed('OS_DISK_MISSING', 'start', operation.vm, 'it has no OS disk');
    }
    const from = machine.power.state === 'deallocated' ? 'deallocated' : 'stopped';
    return [{ type: 'VmStarting', work: workOf(operation, 'start'), from, at: operation.at }];
  };

/** Powers a machine off (VM-12); one that is off, deallocated, or on its way there stays as it is. Needs no key (VM-48). */
export const powerOff =
  (operation: Operation, options: { readonly isHard: boolean }) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'powerOff');
    refuseDeletion(machine, operation.vm, 'powerOff');
    if (machine.power.state === 'deallocated' || machine.power.state === 'deallocating') return [];
    if (isWorkOf(machine, 'powerOff') || (isWorkOf(machine, 'guestEnded') && !startsOnceOff(machine))) return [];
    // It is off or about to be: only its user's request for that is new.
    if (
      isWorkOf(machine, 'keyStop', 'guestEnded') ||
      (machine.power.state === 'stopped' && machine.power.work === undefined)
    ) {
      return isKeptOff(machine) ? [] : [{ type: 'VmKeptOff', at: operation.at }];
    }
    if (machine.power.state === 'stopped') return [];
    refuseBusy(machine, operation.vm, 'powerOff');
    return [{ type: 'VmStopping', work: workOf(operation, 'powerOff', options), at: operation.at }];
  };

/** Powers a machine off, if needed, and gives its host back (VM-13). Needs no key (VM-48). */
export const deallocate =
  (operation: Operation) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'deallocate');
    refuseDeletion(machine, operation.vm, 'deallocate');
    if (
      machine.power.state === 'deallocating' ||
      (machine.power.state === 'deallocated' && machine.power.work === undefined)
    )
      return [];
    refuseBusy(machine, operation.vm, 'deallocate');
    return [{ type: 'VmDeallocating', work: workOf(operation, 'deallocate'), at: operation.at }];
  };

/**
 * Stops and starts a running machine and opens its disks again (VM-14, VM-33). The same request again decides nothing.
 * @throws Rejection FAILED_PRECONDITION VIRTUAL_MACHINE_DEALLOCATED, VIRTUAL_MACHINE_NOT_RUNNING
 */
export const restart =
  (operation: Operation, requestId: string) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'restart');
    if (machine.restarts.includes(requestId)) return [];
    refuseDeletion(machine, operation.vm, 'restart');
    if (machine.power.state === 'deallocated' || machine.power.state === 'deallocating') {
      const why = 'the VM is either deallocated or marked to be deallocated';
      throw notAllowed('VIRTUAL_MACHINE_DEALLOCATED', 'restart', operation.vm, why);
    }
    refuseBusy(machine, operation.vm, 'restart');
    if (machine.power.state !== 'running') {
      throw notAllowed('VIRTUAL_MACHINE_NOT_RUNNING', 'restart', operation.vm, 'the VM is not running: start it');
    }
    return [{ type: 'VmStopping', work: workOf(operation, 'restart', { requestId }), at: operation.at }];
  };

/**
 * Deletes a machine in any power state (VM-17), unless other work is in progress, also a stop because of a key (VM-20). Needs no
 * key (VM-48).
 */
export const remove =
  (operation: Operation) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'delete');
    if (isWorkOf(machine, 'delete')) return [];
    refuseBusy(machine, operation.vm, 'delete');
    return [{ type: 'VmDeleting', work: workOf(operation, 'delete'), at: operation.at }];
  };

/**
 * Attaches a data disk (VM-18), or an OS disk in place of one that was detached (VM-19). The same disk at the same place again
 * decides nothing.
 * @throws Rejection INVALID_ARGUMENT LUN_IN_USE; FAILED_PRECONDITION DISK_ATTACHED at another LUN, TOO_MANY_DATA_DISKS,
 *   OS_DISK_IN_USE
 */
export const attach =
  (operation: Operation, disk: PlannedDisk, dataDisksMax: number) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'attach');
    const known = machine.disks.find((one) => one.disk === disk.disk);
    if (isLeftOver(machine, disk.disk)) throw busy(operation.vm, 'attach');
    if (known && known.phase !== 'detaching' && known.isOs === disk.isOs && known.lun === disk.lun) return [];
    refuseDeletion(machine, operation.vm, 'attach');
    refuseBusy(machine, operation.vm, 'attach');
    if (known) {
      const where = known.isOs ? 'as its OS disk' : `at LUN ${known.lun}`;
      throw new Rejection(
        'FAILED_PRECONDITION',
        'DISK_ATTACHED',
        `disk: ${disk.disk} is attached to this machine already, ${where}; detach it first`,
        { field: 'disk', disk: disk.disk },
      );
    }
    refusePlace(machine, operation.vm, disk, mostDataDisks(machine.spec.guest, dataDisksMax));
    return [{ type: 'DiskAttaching', disk, work: workOf(operation, 'attach', { disk: disk.disk }), at: operation.at }];
  };

/** Refuses a disk for which the machine has no place. */
const refusePlace = ({ disks, power }: Machine, vm: string, { disk, isOs, lun }: PlannedDisk, most: number): void => {
  if (!isOs) {
    refuseLun(disks, lun);
    if (disks.filter((one) => !one.isOs).length >= most) throw tooManyDisks(most);
    return;
  }
  const current = disks.find((one) => one.isOs);
  if (power.state !== 'deallocated')
    throw notAllowed('OS_DISK_IN_USE', 'attach', vm, 'the VM is not deallocated', { disk });
  if (current !== undefined) {
    throw notAllowed('OS_DISK_IN_USE', 'attach', vm, `${current.disk} is its OS disk: detach it first`, { disk });
  }
};

/** Whether a stop interrupted the attach of the disk: it is about to be freed, and not attached. */
export const isLeftOver = ({ disks, power: { work } }: Machine, disk: string): boolean =>
  disks.some((one) => one.disk === disk && one.phase === 'attaching') && work?.kind !== 'attach';

/**
 * Detaches a disk (VM-18, VM-48). A repeat decides nothing.
 * @throws Rejection FAILED_PRECONDITION OS_DISK_IN_USE; DISK_NOT_ATTACHED if the machine did not have it
 */
export const detach =
  (operation: Operation, disk: string) =>
  (vm: Vm): readonly VmEvent[] => {
    const machine = existing(vm, operation.vm);
    if (machine === 'creating') throw busy(operation.vm, 'detach');
    const known = machine.disks.find((one) => one.disk === disk);
    if (known?.phase === 'detaching' || (!known && machine.detached?.includes(disk))) return [];
    if (!known) throw notAttached(operation.vm, disk);
    refuseDeletion(machine, operation.vm, 'detach');
    refuseBusy(machine, operation.vm, 'detach');
    if (known.isOs && machine.power.state !== 'deallocated') {
      throw notAllowed('OS_DISK_IN_USE', 'detach', operation.vm, 'the VM is not deallocated and boots from this disk', {
        disk,
      });
    }
    return [{ type: 'DiskDetaching', disk, work: workOf(operation, 'detach', { disk }), at: operation.at }];
  };

/** The machine, or that it is being created. @throws Rejection NOT_FOUND VIRTUAL_MACHINE_NOT_FOUND */
const existing = (vm: Vm, name: string): Machine | 'creating' => {
  if (vm.status === 'active') return vm;
  if (vm.status === 'creating') return 'creating';
  throw notFound(name);
};

/** The refusal for a machine that does not exist. */
export const notFound = (name: string): Rejection =>
  new Rejection('NOT_FOUND', 'VIRTUAL_MACHINE_NOT_FOUND', `The VM '${name}' cannot be found.`, { name });

/** The refusal for a disk that the machine does not have. */
export const notAttached = (vm: string, disk: string): Rejection => {
  const message = `disk: ${disk} is not attached to this machine`;
  return new Rejection('FAILED_PRECONDITION', 'DISK_NOT_ATTACHED', message, { field: 'disk', disk, vm });
};

/** Whether its user asked for the machine to be off, whatever stopped it before. */
const isKeptOff = (machine: Machine): boolean => {
  const cause = stopCauseOf(machine);
  return cause?.kind === 'requested' || (cause?.kind === 'keyLoss' && cause.afterRestore.kind === 'staysOff');
};

/** Whether a machine that goes off because of its VM host starts at another one then. */
const startsOnceOff = (machine: Machine): boolean => {
  const cause = stopCauseOf(machine);
  return cause?.kind === 'guestEnded' && cause.startsWhenOff !== undefined;
};

const isWorkOf = ({ power: { work } }: Machine, ...kinds: readonly WorkKind[]): boolean =>
  work !== undefined && kinds.includes(work.kind);

/** Refuses work on a machine that is being deleted. */
const refuseDeletion = (machine: Machine, name: string, operation: WorkKind): void => {
  if (isWorkOf(machine, 'delete')) {
    throw notAllowed('MARKED_FOR_DELETION', operation, name, 'the VM is marked for deletion');
  }
};

/** Refuses a second piece of work (VM-20). */
const refuseBusy = (machine: Machine, name: string, operation: WorkKind): void => {
  if (machine.power.work !== undefined) throw busy(name, operation);
};

const busy = (name: string, operation: WorkKind): Rejection =>
  notAllowed('OPERATION_IN_PROGRESS', operation, name, 'another operation is in progress');

const notAllowed = (
  reason: string,
  operation: WorkKind,
  vm: string,
  why: string,
  metadata: Readonly<Record<string, string>> = {},
): Rejection =>
  new Rejection('FAILED_PRECONDITION', reason, `Operation '${operation}' is not allowed on VM '${vm}' since ${why}.`, {
    operation,
    vm,
    ...metadata,
  });

/** Refuses a LUN that is taken (VM-18). @throws Rejection INVALID_ARGUMENT LUN_IN_USE */
export const refuseLun = (disks: readonly Pick<VmDisk, 'isOs' | 'lun'>[], lun: number): void => {
  if (disks.some((disk) => !disk.isOs && disk.lun === lun)) {
    throw new Rejection('INVALID_ARGUMENT', 'LUN_IN_USE', `A disk at LUN ${lun} already exists.`, {
      field: 'lun',
      lun: String(lun),
    });
  }
};

/** The refusal of one more data disk. */
export const tooManyDisks = (dataDisksMax: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'TOO_MANY_DATA_DISKS',
    `The maximum number of data disks allowed to be attached to a VM of this size is ${dataDisksMax}.`,
    { maximum: String(dataDisksMax) },
  );
