import { FINAL_EPOCH, isOutage } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import type { VmEvent } from './events.ts';
import type { KeyLoss, VmDisk, Work } from './machine.ts';
import { type DiskKey, diskKeyChanged } from './progress.ts';
import type { Machine, StopCause, Vm } from './state.ts';

/** A key version of a set. */
export type KeyOfSet = Pick<VmDisk, 'set' | 'keyVersion'>;

/** A key version that can be used again. */
export interface ReturnedKey extends KeyOfSet {
  /**
   * Which losses of it are over: those up to a number, or only outages, where all that is known is that the vault answers again.
   * Absent: all of them.
   */
  readonly ends?: number | 'outages';
}

/** The start of a machine by the platform. */
export interface Restart {
  readonly work: Work & { readonly kind: 'start' };
  /** Whether no other key of its disks is lost: until then the start is owed. */
  readonly isClear: boolean;
}

/**
 * A key can be used again: what it blocked is not blocked any more. Nothing starts by itself (CMK-125), unless `restart`
 * says that the owner of the set wants it: then a machine that a lost key stopped starts again, once for that return, when
 * no other key is in its way and its user has not asked for it to be off since. One that is still stopping starts once it
 * is off; one with another key lost owes its start to that key's return. Of a machine that says more of the key than what is over by
 * that, it is heard too late.
 */
export const keyAccessReturned =
  (at: Instant, key: ReturnedKey, restart?: Restart) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active') return [];
    const isKey = ({ set, keyVersion }: KeyOfSet): boolean => set === key.set && keyVersion === key.keyVersion;
    if (vm.blocked.some((loss) => isKey(loss) && !isEnded(loss, key.ends))) return [];
    const isBlocked = vm.blocked.some(isKey);
    const isOwed = owesStart(vm) && vm.disks.some(isKey);
    const returned = { type: 'KeyAccessReturned', set: key.set, keyVersion: key.keyVersion, at } as const;
    if (restart === undefined || heldByKey(vm) === undefined || !(isBlocked || isOwed))
      return isBlocked ? [returned] : [];
    if (!restart.isClear || !inTheWay(vm).every(isKey)) return isBlocked ? [{ ...returned, owesStart: true }] : [];
    if (vm.power.state === 'stopping') return [{ ...returned, startsAgain: restart.work }];
    return [...(isBlocked ? [returned] : []), { type: 'VmStarting', work: restart.work, from: 'stopped', at }];
  };

/**
 * A disk came under another key (CMK-121). For a machine that its old key stopped that is a return as well: with `restart`
 * it starts again, once, when no other key is in its way; else it owes its start to what is in the way still.
 */
export const diskKeyReplaced =
  (at: Instant, changed: DiskKey, restart?: Restart) =>
  (vm: Vm): readonly VmEvent[] => {
    const moved = diskKeyChanged(at, changed)(vm);
    if (vm.status !== 'active' || restart === undefined || heldByKey(vm) === undefined) return moved;
    const isFreed = moved.length > 0 && vm.blocked.some(({ disk }) => disk === changed.disk);
    // Owing without any news: what was to start it was decided before and did not get further.
    const isOwed = owesStart(vm) && vm.disks.some(({ disk }) => disk === changed.disk);
    if (!(isFreed || isOwed)) return moved;
    const isClear = restart.isClear && inTheWay(vm).every(({ disk }) => disk === changed.disk);
    if (!isClear) return moved.map((one) => ({ ...one, owesStart: true }));
    if (vm.power.state === 'stopping') {
      const { set, keyVersion } = changed;
      const news = moved.length > 0 ? moved : [{ type: 'KeyAccessReturned', set, keyVersion, at } as const];
      return news.map((one) => ({ ...one, startsAgain: restart.work }));
    }
    return [...moved, { type: 'VmStarting', work: restart.work, from: 'stopped', at }];
  };

/** An end of an identity is over with any return: it stands above every number. */
const isEnded = ({ reason, accessEpoch }: KeyLoss, ends: ReturnedKey['ends']): boolean => {
  if (ends === undefined) return true;
  return ends === 'outages' ? isOutage(reason) : accessEpoch <= ends || accessEpoch === FINAL_EPOCH;
};

/** What a start of the machine would fail for: of what a stop has left half attached or half detached none is opened. */
const inTheWay = ({ blocked, disks }: Machine): Machine['blocked'] =>
  blocked.filter((loss) => disks.some(({ disk, phase }) => disk === loss.disk && phase === 'attached'));

/** The loss that keeps a machine off, or on its way there; `undefined` if something else does too. */
export const heldByKey = (machine: Machine): Extract<StopCause, { kind: 'keyLoss' }> | undefined => {
  const { power, disks } = machine;
  const isHeld =
    (power.state === 'stopped' && power.work === undefined) ||
    (power.state === 'stopping' && power.work.kind === 'keyStop');
  if (!isHeld || power.cause.kind !== 'keyLoss' || !disks.some(({ isOs }) => isOs)) return undefined;
  const { kind } = power.cause.afterRestore;
  return kind === 'ownerDecides' || kind === 'owesStart' ? power.cause : undefined;
};

/** Whether a machine starts once access to the last of its lost keys is restored. */
export const owesStart = (machine: Machine): boolean => heldByKey(machine)?.afterRestore.kind === 'owesStart';
