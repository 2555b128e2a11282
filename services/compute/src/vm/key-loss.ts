import { concerns, isOutage, messageOf, statusOf } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import { isPinned, isStoppedByLoss } from './disk-state.ts';
import type { VmEvent } from './events.ts';
import { heldByKey } from './key-return.ts';
import type { Failure, KeyLoss, VmDisk, Work } from './machine.ts';
import { isOnOrStarting, type Machine, type Vm } from './state.ts';

/** A set cannot use a key version, as a set published it or a vault refused it. */
export type SetLoss = Omit<KeyLoss, 'disk'>;

/** How a loss is applied to a machine. */
export interface LossTerms {
  readonly loss: SetLoss;
  /** The stop as work; `at` is the time of the decision. */
  readonly work: Work;
  /** Whether a disk of the set is under the lost version; absent: all of them are. */
  readonly isUnder?: ((disk: Pick<VmDisk, 'disk' | 'keyVersion'>) => boolean) | undefined;
  /** Access was restored since: the loss blocks no start. */
  readonly isOver?: boolean;
  /** Whether no guest has to shut down: then the machine is off in the same step. */
  readonly isInstant: boolean;
}

/**
 * Stops a machine that runs or starts with a non-ultra disk under a lost key (CMK-100 to CMK-103, VM-40). It replaces
 * other work, and ignores a machine that its user is switching off. Only disks unwrapped before the loss count, so a loss
 * never stops a machine that started after it (VM-45).
 */
export const stopForKeyLoss =
  (terms: LossTerms) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || !isGoingToRun(vm)) return [];
    const { loss, work, isInstant } = terms;
    // The loss names the version: the versions that the machine has of its disks may lag.
    const blocked = vm.disks.filter((disk) => isConcerned(disk, terms)).map(({ disk }): KeyLoss => ({ ...loss, disk }));
    return stop(vm, blocked, work, isInstant);
  };

/** An open disk that has no data, as the disk service says. */
export interface SeenLost {
  readonly loss: KeyLoss;
  /** The open that the reply is about: it does not stop a machine that opened its disk again. */
  readonly attachEpoch: number;
}

/**
 * Stops a machine because open disks have no data, as the disk service says: an outage has ended their opens. It stops for
 * ultra disks too: the host keeps their data while the machine runs, unless the host lost its memory (G3).
 */
export const stopForLostDisks =
  (seen: readonly SeenLost[], { work, isInstant }: Pick<LossTerms, 'work' | 'isInstant'>) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || !isGoingToRun(vm)) return [];
    const isSame = ({ loss, attachEpoch }: SeenLost): boolean =>
      vm.disks.some(
        (disk) =>
          disk.disk === loss.disk && disk.access === 'open' && disk.attachEpoch === attachEpoch && disk.set !== '',
      );
    const lost = seen.filter(isSame).map(({ loss }) => loss);
    return stop(vm, lost, work, isInstant);
  };

/**
 * Applies a loss to any machine. It stops a machine that runs. At a machine that an outage stopped it replaces the reason. At
 * a machine that continues with ultra disks, or that another lost key stopped, it records what blocks the next start.
 */
export const applyKeyLoss =
  (terms: LossTerms) =>
  (vm: Vm): readonly VmEvent[] => {
    const stopping = stopForKeyLoss(terms)(vm);
    if (stopping.length > 0) return stopping;
    const explained = explainOutage(terms.loss, terms.work.at)(vm);
    if (explained.length > 0) return explained;
    return vm.status === 'active' && vm.power.state === 'running'
      ? blockNextStart(terms)(vm)
      : blockStoppedMachine(terms)(vm);
  };

/**
 * Records the loss at a machine that another lost key stopped: the machine needs both keys back, also for a start by
 * `auto_restart`. A key that the machine already names stays as it is: a fleet that is off does not change with every
 * further loss (CMK-114).
 */
const blockStoppedMachine =
  ({ loss, work, isUnder, isOver = false }: LossTerms) =>
  (vm: Vm): readonly VmEvent[] => {
    if (isOver || vm.status !== 'active' || vm.blocked.length === 0 || heldByKey(vm) === undefined) return [];
    if (vm.blocked.some(({ set, keyVersion }) => set === loss.set && keyVersion === loss.keyVersion)) return [];
    const isKept = ({ disk, phase }: VmDisk): boolean =>
      phase === 'attached' && !vm.blocked.some((known) => known.disk === disk);
    const blocked = vm.disks
      .filter((disk) => disk.set === loss.set && isKept(disk) && (isUnder === undefined || isUnder(disk)))
      .map(({ disk }): KeyLoss => ({ ...loss, disk }));
    return blocked.length === 0 ? [] : [{ type: 'NextStartBlocked', id: work.id, blocked, at: work.at }];
  };

/**
 * Records the loss at a machine that runs with ultra disks under the key. The disks keep their data while it runs; the record
 * shows that its next start fails (CMK-102, VM-49).
 */
export const blockNextStart =
  ({ loss, work, isUnder, isOver = false }: Omit<LossTerms, 'isInstant'>) =>
  (vm: Vm): readonly VmEvent[] => {
    if (isOver || vm.status !== 'active' || vm.power.state !== 'running' || vm.power.work?.kind === 'delete') return [];
    const isNews = ({ disk }: VmDisk): boolean =>
      !vm.blocked.some(
        (known) =>
          known.disk === disk &&
          (known.accessEpoch > loss.accessEpoch ||
            (known.accessEpoch === loss.accessEpoch && known.reason === loss.reason)),
      );
    const blocked = vm.disks
      .filter((disk) => isPinned(disk) && isLost(disk, { loss, isUnder }) && isNews(disk))
      .map(({ disk }): KeyLoss => ({ ...loss, disk }));
    return blocked.length === 0 ? [] : [{ type: 'NextStartBlocked', id: work.id, blocked, at: work.at }];
  };

/**
 * Replaces the reason of a machine that stopped because its vault was unreachable: the vault has refused since (G3). A loss
 * before the last unwrap is not the reason, and neither is one after the outage.
 */
export const explainOutage =
  (loss: SetLoss, at: Instant) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || isOutage(loss.reason)) return [];
    const disks = vm.blocked
      .filter(({ reason, set, keyVersion }) => isOutage(reason) && set === loss.set && keyVersion === loss.keyVersion)
      .filter(({ disk }) => !canBeOrdered(loss) || concerns(loss, lastUnwrapOf(vm, disk)))
      .map(({ disk }) => disk);
    return disks.length === 0 ? [] : [{ type: 'OutageExplained', loss, disks, at }];
  };

const lastUnwrapOf = ({ disks }: Machine, name: string): Pick<VmDisk, 'accessEpoch' | 'principal'> =>
  disks.find(({ disk }) => disk === name) ?? { accessEpoch: 0 };

const stop = (machine: Machine, blocked: readonly KeyLoss[], work: Work, isInstant: boolean): readonly VmEvent[] => {
  const [reason, ...others] = blocked;
  if (reason === undefined) return [];
  const preempted = preemptedBy(machine, reason, work.at);
  const stopping: VmEvent = {
    type: 'VmStopping',
    work,
    reason,
    ...(others.length === 0 ? {} : { blocked: others }),
    ...(preempted === undefined ? {} : { preempted }),
    at: work.at,
  };
  // Other work has to end first.
  const isReady = machine.power.state === 'running' && machine.power.work === undefined;
  return isInstant && isReady ? [stopping, { type: 'VmStopped', reason, at: work.at }] : [stopping];
};

/** Runs, or will run. A restart that is still stopping reopens its disks and finds the loss then. */
const isGoingToRun = (machine: Machine): boolean => isOnOrStarting(machine) && machine.power.work?.kind !== 'delete';

const isConcerned = (disk: VmDisk, terms: LossTerms): boolean => isStoppedByLoss(disk) && isLost(disk, terms);

/** Open, with a DEK that was unwrapped before the loss. */
const isLost = (disk: VmDisk, { loss, isUnder }: Pick<LossTerms, 'loss' | 'isUnder'>): boolean =>
  disk.access === 'open' && disk.set === loss.set && concerns(loss, disk) && (isUnder === undefined || isUnder(disk));

/**
 * Whether a loss can be compared with unwraps: it has a position in key-vault's feed, or names the identity that was deleted.
 * An outage has neither and is bound to an open: see `stopForLostDisks`.
 */
export const canBeOrdered = ({
  reason,
  accessEpoch,
  principal,
}: Pick<SetLoss, 'reason' | 'accessEpoch' | 'principal'>): boolean =>
  !isOutage(reason) && (accessEpoch > 0 || principal !== undefined);

const preemptedBy = ({ power: { work } }: Machine, loss: KeyLoss, at: number): Failure | undefined => {
  if (work === undefined) return undefined;
  return {
    operation: work.kind,
    operationId: work.id,
    status: statusOf(loss.reason),
    code: loss.reason,
    message: messageOf(loss),
    loss,
    at,
  };
};
