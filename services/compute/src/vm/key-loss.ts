import { concerns, FINAL_EPOCH, isOutage, messageOf, statusOf } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import { isPinned, isStoppedByLoss } from './disk-state.ts';
import type { VmEvent } from './events.ts';
import { heldByKey } from './key-return.ts';
import type { Failure, KeyLoss, VmDisk, Work } from './machine.ts';
import { isOnOrStarting, type Machine, type Vm } from './state.ts';

/** A set that cannot use a key version any more, as committed by the one who knows. */
export type SetLoss = Omit<KeyLoss, 'disk'>;

/** How a loss is applied to a machine. */
export interface LossTerms {
  readonly loss: SetLoss;
  /** What the stop is recorded as; `at` is the time of the decision. */
  readonly work: Work;
  /** Whether a disk of the set is under the lost version; absent: all of them are. */
  readonly isUnder?: ((disk: Pick<VmDisk, 'disk' | 'keyVersion'>) => boolean) | undefined;
  /** The key has returned since: the loss is in the way of no start any more. */
  readonly isOver?: boolean;
  /** True where no guest has to be shut down: then the machine is off in the same step. */
  readonly isInstant: boolean;
}

/**
 * Stops a machine that runs or starts with a non-ultra disk under a lost key (CMK-100 to CMK-103, VM-40): whatever was
 * under way is pre-empted, what its user asked to be off is left alone. Only disks whose last unwrap is older than the
 * loss count, so the same loss never stops a machine that was started since (VM-45).
 */
export const stopForKeyLoss =
  (terms: LossTerms) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || !isGoingToRun(vm)) return [];
    const { loss, work, isInstant } = terms;
    // The version is that of the loss: what the machine knows of its disks' versions comes by another way, and may lag.
    const blocked = vm.disks.filter((disk) => isConcerned(disk, terms)).map(({ disk }): KeyLoss => ({ ...loss, disk }));
    return stop(vm, blocked, work, isInstant);
  };

/** An open disk that the disk service says has no data any more. */
export interface SeenLost {
  readonly loss: KeyLoss;
  /** The open the answer is about: a machine that opened its disk again meanwhile is left alone. */
  readonly attachEpoch: number;
}

/**
 * Stops a machine because the disk service says that open disks have no data any more, whatever has been told about their
 * keys: the way of losses without a number. A class makes no difference here: the host keeps the data of an ultra disk
 * for as long as its machine runs, unless it has lost its memory (G3).
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
 * What a loss does to any machine: it stops one that runs, says to one that an outage stopped what was behind that, and to
 * one that goes on with ultra disks, or that another lost key has stopped, what its next start will fail for.
 */
export const applyKeyLoss =
  (terms: LossTerms) =>
  (vm: Vm): readonly VmEvent[] => {
    const stopping = stopForKeyLoss(terms)(vm);
    if (stopping.length > 0) return stopping;
    const explained = explainOutage(terms.loss, terms.work.at)(vm);
    if (explained.length > 0) return explained;
    return vm.status === 'active' && vm.power.state === 'running' ? blockNextStart(terms)(vm) : holdBack(terms)(vm);
  };

/**
 * Notes the loss at a machine that another lost key has stopped and still holds back: it is not back with that key alone, and
 * starts by itself once all are where one of their sets wants it. Of several keys lost at once any may have stopped it. What
 * the machine says of a key stays as it is: a fleet that is off does not change with every further loss (CMK-114).
 */
const holdBack =
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
 * Notes the loss at a machine that runs with ultra disks under it. They keep their data for as long as it runs, so nothing
 * else changes, and without this nobody would see that it cannot be started again (CMK-102, VM-49).
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
 * The truth behind an outage: where a machine was stopped because a vault gave no answer, the vault has decided something
 * meanwhile (G3). A loss from before the last unwrap explains nothing, nor does one after the outage is over.
 */
export const explainOutage =
  (loss: SetLoss, at: Instant) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || isOutage(loss.reason)) return [];
    const disks = vm.blocked
      .filter(({ reason, set, keyVersion }) => isOutage(reason) && set === loss.set && keyVersion === loss.keyVersion)
      .filter(({ disk }) => !isNumbered(loss) || concerns(loss, { accessEpoch: epochOf(vm, disk) }))
      .map(({ disk }) => disk);
    return disks.length === 0 ? [] : [{ type: 'OutageExplained', loss, disks, at }];
  };

const epochOf = ({ disks }: Machine, name: string): number => disks.find(({ disk }) => disk === name)?.accessEpoch ?? 0;

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
  // Where something is under way, that has to end first.
  const isReady = machine.power.state === 'running' && machine.power.work === undefined;
  return isInstant && isReady ? [stopping, { type: 'VmStopped', reason, at: work.at }] : [stopping];
};

/** Runs, or will without anybody doing more. A restart that is still stopping opens its disks anew and finds out itself. */
const isGoingToRun = (machine: Machine): boolean => isOnOrStarting(machine) && machine.power.work?.kind !== 'delete';

const isConcerned = (disk: VmDisk, terms: LossTerms): boolean => isStoppedByLoss(disk) && isLost(disk, terms);

/** Open with data that was unwrapped before the loss. */
const isLost = (disk: VmDisk, { loss, isUnder }: Pick<LossTerms, 'loss' | 'isUnder'>): boolean =>
  disk.access === 'open' && disk.set === loss.set && concerns(loss, disk) && (isUnder === undefined || isUnder(disk));

/**
 * Whether unwraps can be compared with a loss: it is an event of the vault. An outage is none, and the end of an identity
 * is one of another service. A machine that such a loss concerns is told by its open: see `stopForLostDisks`.
 */
export const isNumbered = ({ reason, accessEpoch }: Pick<SetLoss, 'reason' | 'accessEpoch'>): boolean =>
  !isOutage(reason) && accessEpoch > 0 && accessEpoch < FINAL_EPOCH;

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
