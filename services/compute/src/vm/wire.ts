import type { AccessLoss } from '@interlock/contracts/interlock/compute/v1/access_loss.ts';
import {
  AttachedDisk,
  type PowerState,
  VirtualMachine,
  type VirtualMachine_ProvisioningState,
  type VirtualMachine_StopCause,
  type Failure as WireFailure,
  GuestIo as WireGuestIo,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Loaded } from '@interlock/event-store';
import { mismatchOnWire } from '../guests/guest-wire.ts';
import type { GuestIo } from '../guests/vm-host.ts';
import type { Failure, KeyLoss, VmDisk } from './machine.ts';
import { notFound } from './operations.ts';
import {
  type Creating,
  currentWork,
  isOnOrStarting,
  type Machine,
  stopCauseOf,
  stoppingLossOf,
  type Vm,
} from './state.ts';

/** A machine that can be shown. */
export type Shown = Creating | Machine;

/** The machine, if there is one. @throws Rejection NOT_FOUND VIRTUAL_MACHINE_NOT_FOUND */
export const shown = ({ id, state }: Loaded<Vm>): Shown => {
  if (state.status === 'creating' || state.status === 'active') return state;
  throw notFound(id);
};

/**
 * A machine as the API shows it, without its instance view.
 * @param currentLosses known losses of the keys of its disks, while it is off
 * @throws Rejection NOT_FOUND VIRTUAL_MACHINE_NOT_FOUND
 */
export const vmOnWire = (loaded: Loaded<Vm>, currentLosses: readonly KeyLoss[] = []): VirtualMachine => {
  const vm = shown(loaded);
  const { location, ultraSsdEnabled, guest, workload } = vm.spec;
  const visible = vm.status === 'active' ? vm.disks.filter(isVisible) : vm.disks;
  const osDisk = visible.find(({ isOs }) => isOs);
  const dataDisks = visible.filter(({ isOs }) => !isOs).toSorted((a, b) => a.lun - b.lun);
  const active = vm.status === 'active' ? vm : undefined;
  const loss = active && stoppingLossOf(active);
  return VirtualMachine.fromPartial({
    name: loaded.id,
    location,
    ultraSsdEnabled,
    guest,
    workload,
    ...(osDisk === undefined ? {} : { osDisk: attachedDiskOnWire(osDisk) }),
    dataDisks: dataDisks.map(attachedDiskOnWire),
    provisioningState: provisioningOf(vm),
    powerState: powerOf(vm),
    createTime: new Date(vm.createdAt),
    ...(loss === undefined || active?.power.state === 'starting'
      ? {}
      : { stopReason: lossOnWire(loss, active?.disks) }),
    stopCause: stopCauseOnWire(active),
    stopDetail: stopDetailOf(active),
    ...(active === undefined || !isHeldOff(active)
      ? {}
      : { keyReturned: active.blocked.length === 0 && currentLosses.length === 0 }),
    nextStartLosses: (active === undefined ? [] : unshownLosses(active, currentLosses)).map((one) =>
      lossOnWire(one, active?.disks),
    ),
    ...(active?.failure === undefined ? {} : { failure: failureOnWire(active.failure, active.disks) }),
    ...(active?.startedAt === undefined ? {} : { startTime: new Date(active.startedAt) }),
    ...(active?.stoppedAt === undefined ? {} : { stopTime: new Date(active.stoppedAt) }),
    etag: String(loaded.version),
    uniqueId: vm.status === 'active' ? vm.uniqueId : vm.work.id,
    vmHost: active?.placement?.host ?? '',
    hostLossPolicy: vm.spec.hostLossPolicy ?? 'STAY',
  });
};

/**
 * Whether an access loss stopped the machine or failed its last operation, so that it waits for a start. If it runs or is
 * starting, the refused disk is not its own, and the state of that disk's key is unknown here.
 */
const isHeldOff = (machine: Machine): boolean =>
  !isOnOrStarting(machine) && (stoppingLossOf(machine) !== undefined || machine.failure?.loss !== undefined);

/** The losses that block a start and are not shown as the reason why the machine is off. */
const unshownLosses = (machine: Machine, currentLosses: readonly KeyLoss[]): readonly KeyLoss[] => {
  const { power, blocked, failure } = machine;
  if (power.state === 'running') return blocked;
  const isShown = ({ set, keyVersion }: KeyLoss): boolean =>
    [stoppingLossOf(machine), failure?.loss].some((shown) => shown?.set === set && shown.keyVersion === keyVersion);
  const others = currentLosses.filter(({ disk }) => !blocked.some((known) => known.disk === disk));
  return [...blocked, ...others].filter((loss) => !isShown(loss));
};

/** A disk that a stop left half attached does not belong to the machine. */
const isVisible = ({ phase, access }: VmDisk): boolean => phase === 'attached' || access !== 'closing';

/** What the last operation did (VM-04). A stop by the platform is not an operation (VM-41). */
export const provisioningOf = (vm: Shown): VirtualMachine_ProvisioningState => {
  if (vm.status === 'creating') return 'CREATING';
  switch (currentWork(vm)?.kind) {
    case 'create':
      return 'CREATING';
    case 'delete':
      return 'DELETING';
    case undefined:
    case 'keyStop':
    case 'guestEnded':
      return vm.failure === undefined ? 'SUCCEEDED' : 'FAILED';
    default:
      return 'UPDATING';
  }
};

const powers = {
  starting: 'STARTING',
  running: 'RUNNING',
  stopping: 'STOPPING',
  stopped: 'STOPPED',
  deallocating: 'DEALLOCATING',
  deallocated: 'DEALLOCATED',
} as const satisfies Record<Machine['power']['state'], PowerState>;

/** What it does (VM-02). */
export const powerOf = (vm: Shown): PowerState => (vm.status === 'creating' ? 'CREATING' : powers[vm.power.state]);

/** Why it is off, or about to be, without a request of its user. */
const stopCauseOnWire = (vm: Machine | undefined): VirtualMachine_StopCause => {
  // What stopped it is over once it is being started, or its user asked for it to be off.
  const cause = vm === undefined || vm.power.state === 'starting' ? undefined : stopCauseOf(vm);
  if (cause?.kind === 'guestEnded') return cause.end;
  return cause?.kind === 'keyLoss' && cause.afterRestore.kind !== 'staysOff' ? 'KEY_LOST' : 'STOP_CAUSE_UNSPECIFIED';
};

/** How its guest ended, as long as that is the stop cause. */
const stopDetailOf = (vm: Machine | undefined): string => {
  const cause = vm === undefined || vm.power.state === 'starting' ? undefined : stopCauseOf(vm);
  return cause?.kind === 'guestEnded' ? (cause.detail ?? '') : '';
};

/** A disk of a machine; the LUN of an OS disk is 0 and without meaning. */
export const attachedDiskOnWire = ({
  disk,
  lun,
  deleteWithVm,
  sku,
}: Pick<VmDisk, 'disk' | 'lun' | 'deleteWithVm' | 'sku'>): AttachedDisk =>
  AttachedDisk.fromPartial({ disk, lun, deleteWithVm, sku });

/**
 * What the guest of a machine counted; `undefined` where no guest has run.
 * @param recorded mismatches stored for the machine: the counters are lost with their host
 */
export const guestIoOnWire = (io: Partial<GuestIo> = {}, recorded: Machine['mismatches']): WireGuestIo | undefined => {
  const { reads = 0, writes = 0, flushes = 0, failures = 0, mismatches = 0, newestMismatch = recorded?.newest } = io;
  if (Object.keys(io).length === 0 && recorded === undefined) return undefined;
  return WireGuestIo.fromPartial({
    readCount: reads,
    writeCount: writes,
    flushCount: flushes,
    failureCount: failures,
    contentMismatchCount: Math.max(mismatches, recorded?.count ?? 0),
    ...(newestMismatch === undefined ? {} : { newestMismatch: mismatchOnWire(newestMismatch) }),
  });
};

/** A lost key. */
export const lossOnWire = (
  { reason, disk, set, keyVersion, since, traceId, accessEpoch, host }: KeyLoss,
  disks: readonly Pick<VmDisk, 'disk' | 'host'>[] = [],
): AccessLoss => ({
  reason,
  disk,
  diskEncryptionSet: set,
  keyVersion,
  since: new Date(since),
  traceId,
  accessEpoch,
  diskHost: host ?? disks.find((one) => one.disk === disk)?.host ?? '',
});

/** Why an operation failed. */
export const failureOnWire = (
  { operation, code, message, loss, diskHost, at }: Failure,
  disks: readonly Pick<VmDisk, 'disk' | 'host'>[] = [],
): WireFailure => ({
  operation,
  code,
  message,
  accessLoss: loss && lossOnWire(diskHost === undefined ? loss : { host: diskHost, ...loss }, disks),
  failureTime: new Date(at),
});
