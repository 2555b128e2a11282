import { isStoppedByLoss, type Machine, type Vm } from './decider.ts';
import type { VmEvent } from './events.ts';
import type { Failure, KeyLoss, LossReason, VmDisk, Work } from './machine.ts';

/** A set that cannot use a key version any more, as committed by the one who knows. */
export type SetLoss = Omit<KeyLoss, 'disk'>;

/** How a loss is applied to a machine. */
export interface LossTerms {
  readonly loss: SetLoss;
  /** What the stop is recorded as; `at` is the time of the decision. */
  readonly work: Work;
  /** Whether a disk of the set is under the lost version; absent: all of them are. */
  readonly isUnder?: (disk: Pick<VmDisk, 'disk' | 'keyVersion'>) => boolean;
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

/**
 * Stops a machine because the disk service says that an open disk has no data any more, whatever has been told about its
 * key. `seen` is the open the answer is about: a machine that opened its disk again meanwhile is left alone.
 */
export const stopForLostDisk =
  (loss: KeyLoss, seen: { readonly attachEpoch: number }, work: Work) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active' || !isGoingToRun(vm)) return [];
    const isSame = vm.disks.some(
      (disk) =>
        disk.disk === loss.disk &&
        disk.access === 'open' &&
        disk.attachEpoch === seen.attachEpoch &&
        isStoppedByLoss(disk),
    );
    return isSame ? stop(vm, [loss], work, false) : [];
  };

/** A key can be used again: what it blocked is not blocked any more. Nothing starts by itself (CMK-125). */
export const keyAccessReturned =
  (at: number, set: string, keyVersion: string) =>
  (vm: Vm): readonly VmEvent[] =>
    vm.status === 'active' && vm.blocked.some((loss) => loss.set === set && loss.keyVersion === keyVersion)
      ? [{ type: 'KeyAccessReturned', set, keyVersion, at }]
      : [];

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
  // The lease of an ultra disk is pinned until it is closed, so that one has to go first.
  const isReady =
    machine.power === 'running' && machine.work === undefined && machine.disks.every(({ sku }) => sku !== 'ULTRA');
  return isInstant && isReady ? [stopping, { type: 'VmStopped', reason, at: work.at }] : [stopping];
};

/** Runs, or will without anybody doing more. A restart that is still stopping opens its disks anew and finds out itself. */
const isGoingToRun = ({ power, work }: Machine): boolean =>
  (power === 'running' || power === 'starting') && work?.kind !== 'delete';

const isConcerned = (disk: VmDisk, { loss, isUnder }: LossTerms): boolean =>
  disk.access === 'open' &&
  disk.set === loss.set &&
  isStoppedByLoss(disk) &&
  isOlder(disk.accessEpoch, loss) &&
  (isUnder === undefined || isUnder(disk));

/** An outage is no event of the vault and has no number of its own: it concerns whoever unwrapped up to then. */
const isOlder = (accessEpoch: number, { reason, accessEpoch: lossEpoch }: SetLoss): boolean =>
  isOutage(reason) ? accessEpoch <= lossEpoch : accessEpoch < lossEpoch;

/** Whether nobody decided anything: the vault just gives no answer. */
export const isOutage = (reason: LossReason): boolean => reason === 'KEY_VAULT_UNREACHABLE' || reason === 'THROTTLED';

const preemptedBy = ({ work }: Machine, loss: KeyLoss, at: number): Failure | undefined => {
  if (work === undefined) return undefined;
  return {
    operation: work.kind,
    operationId: work.id,
    status: statusOf(loss.reason),
    code: loss.reason,
    message: lossMessage(loss),
    loss,
    at,
  };
};

/** The status a caller is refused with for that reason. */
export const statusOf = (reason: LossReason): Failure['status'] => {
  if (reason === 'ACCESS_DENIED') return 'PERMISSION_DENIED';
  return isOutage(reason) ? 'UNAVAILABLE' : 'FAILED_PRECONDITION';
};

/** The words clients of public clouds match on (errors customers see), and our own where there are none. */
export const lossMessage = ({ reason, keyVersion, set }: Pick<KeyLoss, 'reason' | 'keyVersion' | 'set'>): string => {
  const key = `The key vault key '${keyVersion}' used for disk encryption set '${set}'`;
  switch (reason) {
    case 'KEY_DISABLED':
      return `${key} must be enabled state.`;
    case 'KEY_EXPIRED':
      return `Unable to access key '${keyVersion}'. Key is expired.`;
    case 'ACCESS_DENIED':
      return (
        `Unable to access key vault resource '${keyVersion}' to enable encryption at rest. Please grant get, wrap and ` +
        `unwrap key permissions to disk encryption set '${set}'. Please visit https://aka.ms/keyvaultaccessssecmk for more information.`
      );
    case 'KEY_NOT_YET_VALID':
      return `${key} is not valid yet.`;
    case 'KEY_DELETED':
      return `${key} is deleted. Recover it, or assign another key to the disk encryption set.`;
    case 'KEY_PURGED':
      return `${key} is purged. The data it protected is lost for good.`;
    case 'KEY_VERSION_NOT_FOUND':
      return `${key} does not exist.`;
    case 'VAULT_DELETED':
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' is deleted. Recover it and grant access again.`;
    case 'IDENTITY_DELETED':
      return `The identity of disk encryption set '${set}' no longer exists, so no access token for key '${keyVersion}' can be acquired.`;
    case 'KEY_VAULT_UNREACHABLE':
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' gives no answer. Try again later.`;
    case 'THROTTLED':
      return `The vault of key '${keyVersion}' used for disk encryption set '${set}' has too many requests. Try again later.`;
  }
};
