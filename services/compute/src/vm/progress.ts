import type { Instant } from '@interlock/runtime';
import type { GuestEnding, GuestIo } from '../guests/vm-host.ts';
import { isToBeClosed } from './decider.ts';
import { isOutdated } from './disk-state.ts';
import type { OpenedDisk, VmEvent } from './events.ts';
import type { Failure, KeyLoss, PlannedDisk, VmDisk, Work } from './machine.ts';
import type { Creating, Machine, StopCause, Vm } from './state.ts';

/** A report of a process. It decides nothing if the work is over or was preempted. */
type Report = (at: Instant, workId: string) => (vm: Vm) => readonly VmEvent[];

/** Decides only while that work is under way. */
const during = (
  vm: Vm,
  workId: string,
  decide: (work: Work, machine: Machine) => readonly VmEvent[],
): readonly VmEvent[] => {
  const work = vm.status === 'active' ? vm.power.work : undefined;
  return vm.status === 'active' && work?.id === workId ? decide(work, vm) : [];
};

/** Decides only while that creation is under way. */
const duringCreation = (
  vm: Vm,
  workId: string,
  decide: (creating: Creating) => readonly VmEvent[],
): readonly VmEvent[] => (vm.status === 'creating' && vm.work.id === workId ? decide(vm) : []);

/** All disks of a new machine are created, attached and open. */
export const created =
  (at: Instant, workId: string, opened: readonly OpenedDisk[]) =>
  (vm: Vm): readonly VmEvent[] =>
    duringCreation(vm, workId, ({ work, disks }) => {
      if (work.undo !== undefined) return [];
      const first = disks.map(({ disk, lun, isOs, deleteWithVm, sku }) => {
        const found = opened.find((one) => one.disk === disk);
        return { disk, lun, isOs, deleteWithVm, sku: found?.sku ?? sku };
      });
      return [{ type: 'VmCreated', opened, disks: first, at }];
    });

/** The creation fails, unless another replica already reported it as done. What was created for it is still there. */
export const undoCreation =
  (at: Instant, workId: string, failure: Failure) =>
  (vm: Vm): readonly VmEvent[] =>
    duringCreation(vm, workId, ({ work }) =>
      work.undo === undefined ? [{ type: 'VmCreationUndoing', failure, at }] : [],
    );

/** The creation failed, and everything created for it is gone. */
export const creationFailed =
  (at: Instant, workId: string, failure: Failure) =>
  (vm: Vm): readonly VmEvent[] =>
    duringCreation(vm, workId, () => [{ type: 'VmCreationFailed', failure, at }]);

/**
 * Disks were opened by a start or an attach. If two replicas work on one machine, the last open of a disk counts, even if it is
 * reported when the work is over.
 */
export const disksOpened =
  (at: Instant, workId: string, opened: readonly OpenedDisk[]) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active') return [];
    const isUnderWay = vm.power.work?.id === workId;
    const isNews = (one: OpenedDisk, { disk, access, attachEpoch, isOpenUnsure }: VmDisk): boolean => {
      if (disk !== one.disk) return false;
      // An open under way, or a lookup before a close, accounts for every earlier open. Its number may be lower after a restore of
      // the disk service's store.
      if (access === 'opening') return isUnderWay;
      return isOpenUnsure !== true && one.attachEpoch > attachEpoch;
    };
    const news = opened.filter((one) => vm.disks.some((disk) => isNews(one, disk)));
    return news.length === 0 ? [] : [{ type: 'DisksOpened', opened: news, at }];
  };

/** Disks were opened for a start without a guest: the machine runs in the same commit. */
export const runsWithoutGuest =
  (at: Instant, workId: string, opened: readonly OpenedDisk[]) =>
  (vm: Vm): readonly VmEvent[] => [...disksOpened(at, workId, opened)(vm), ...guestStarted(at, workId)(vm)];

/**
 * A start chose a VM host.
 * @param above a number that the host knows already: that of this placement is higher
 */
export const placed =
  (at: Instant, workId: string, host: string, above = 0) =>
  (vm: Vm): readonly VmEvent[] =>
    during(vm, workId, (_work, { power, placement }) =>
      power.state === 'starting'
        ? [{ type: 'VmPlaced', host, number: Math.max(above, placement?.number ?? 0) + 1, at }]
        : [],
    );

/** The guest runs. */
export const guestStarted: Report = (at, workId) => (vm) =>
  during(vm, workId, (_work, { power }) => (power.state === 'starting' ? [{ type: 'VmStarted', at }] : []));

/** The start failed; the machine is off as before (VM-47). */
export const startFailed =
  (at: Instant, workId: string, failure: Failure, blocked: readonly KeyLoss[]) =>
  (vm: Vm): readonly VmEvent[] =>
    during(vm, workId, (_work, { power }) =>
      power.state === 'starting' ? [{ type: 'VmStartFailed', failure, blocked, at }] : [],
    );

/**
 * The guest is off. A restart continues with the start, and so does a machine that starts once it is off.
 * @param isFenced its host does not say whether the guest is gone, and every disk is closed
 */
export const guestStopped =
  (at: Instant, workId: string, isFenced = false) =>
  (vm: Vm): readonly VmEvent[] =>
    during(vm, workId, (work, { power }) => {
      if (power.state !== 'stopping') return [];
      if (work.kind === 'restart') return [{ type: 'VmStarting', work, from: 'stopped', at }];
      const { cause } = power;
      const reason = cause.kind === 'keyLoss' ? { reason: cause.loss } : {};
      const stopped = { type: 'VmStopped', ...reason, ...(isFenced ? { isFenced } : {}), at } as const;
      const next = startOnceOff(cause);
      return next === undefined
        ? [stopped]
        : [stopped, { type: 'VmStarting', work: { ...next, at }, from: 'stopped', at }];
    });

/** The work by which a machine that is off now starts; undefined if it stays off. */
const startOnceOff = (cause: StopCause): Work | undefined => {
  if (cause.kind === 'guestEnded') return cause.startsWhenOff;
  return cause.kind === 'keyLoss' && cause.afterRestore.kind === 'startsWhenOff' ? cause.afterRestore.work : undefined;
};

/** Its host is free and its disks are closed. */
export const deallocated: Report = (at, workId) => (vm) =>
  during(vm, workId, (_work, { power }) => (power.state === 'deallocating' ? [{ type: 'VmDeallocated', at }] : []));

/** Its disks are free or deleted. */
export const deleted: Report = (at, workId) => (vm) =>
  during(vm, workId, (work) => (work.kind === 'delete' ? [{ type: 'VmDeleted', at }] : []));

/** The disks of a machine that is off are closed. */
export const disksClosed =
  (at: Instant) =>
  (vm: Vm): readonly VmEvent[] =>
    isToBeClosed(vm) ? [{ type: 'DisksClosed', at }] : [];

/** The disk is attached, and a running guest has it. */
export const diskAttached: Report = (at, workId) => (vm) =>
  during(vm, workId, (work, { disks }) => {
    const disk = disks.find((one) => one.disk === work.disk);
    if (work.kind !== 'attach' || work.undo !== undefined || !disk) return [];
    const { lun, deleteWithVm, sku } = disk;
    return [{ type: 'DiskAttachedToVm', disk: disk.disk, lun, deleteWithVm, sku, at }];
  });

/** The attach fails, unless another replica already reported it as done. The disk is not free yet. */
export const undoAttach =
  (at: Instant, workId: string, failure: Failure) =>
  (vm: Vm): readonly VmEvent[] =>
    during(vm, workId, (work) =>
      work.kind === 'attach' && work.undo === undefined ? [{ type: 'DiskAttachUndoing', failure, at }] : [],
    );

/** The attach failed, and the disk is free (CMK-110). */
export const diskAttachFailed =
  (at: Instant, workId: string, failure: Failure) =>
  (vm: Vm): readonly VmEvent[] =>
    during(vm, workId, (work) =>
      work.kind === 'attach' && work.disk !== undefined
        ? [{ type: 'DiskAttachFailed', disk: work.disk, failure, at }]
        : [],
    );

/** The disk being detached is free. */
export const diskDetached: Report = (at, workId) => (vm) =>
  during(vm, workId, (work) =>
    work.kind === 'detach' && work.disk !== undefined ? [{ type: 'DiskDetachedFromVm', disk: work.disk, at }] : [],
  );

/**
 * The guest of a running machine is gone without a stop (VM-43: stopped from inside).
 * @param startedAt the run in which it was gone; a later run is left alone
 */
export const guestEnded =
  (work: Work, startedAt: Instant | undefined, ending: GuestEnding) =>
  (vm: Vm): readonly VmEvent[] =>
    vm.status === 'active' && vm.power.state === 'running' && vm.power.work === undefined && vm.startedAt === startedAt
      ? [{ type: 'VmStopping', work, ...ending, at: work.at }]
      : [];

/**
 * The guest of a machine read other bytes than it wrote.
 * @param uniqueId of the machine whose guest counted them
 * @param count all since the machine was created; a known count decides nothing
 */
export const mismatchesFound =
  (at: Instant, id: string, uniqueId: string, { mismatches: count, newestMismatch: newest }: GuestIo) =>
  (vm: Vm): readonly Extract<VmEvent, { type: 'ContentMismatchFound' }>[] => {
    if (vm.status !== 'active' || vm.uniqueId !== uniqueId || newest === undefined) return [];
    return count > (vm.mismatches?.count ?? 0) ? [{ type: 'ContentMismatchFound', id, count, newest, at }] : [];
  };

/** The key of a disk now. */
export interface DiskKey {
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
  /** Version of the disk's stream this comes from. */
  readonly diskVersion: number;
}

/** The disk service moved a disk's data key under another set or version: later losses concern it there. */
export const diskKeyChanged =
  (at: Instant, changed: DiskKey) =>
  (vm: Vm): readonly Extract<VmEvent, { type: 'DiskKeyChanged' }>[] => {
    const disks: readonly (PlannedDisk | VmDisk)[] = vm.status === 'active' || vm.status === 'creating' ? vm.disks : [];
    const disk = disks.find((one) => one.disk === changed.disk);
    if (!disk || isOutdated(disk, changed)) return [];
    if (disk.set === changed.set && disk.keyVersion === changed.keyVersion) return [];
    return [{ type: 'DiskKeyChanged', ...changed, at }];
  };
