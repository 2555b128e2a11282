import { isOutage } from '@interlock/access';
import type { Instant } from '@interlock/runtime';
import type { VmEvent } from './events.ts';
import { isLossOf } from './loss-of-key.ts';
import type { KeyLoss, VmDisk, Work } from './machine.ts';
import { type DiskKey, diskKeyChanged } from './progress.ts';
import type { Machine, StopCause, Vm } from './state.ts';

/** A key version of a set. */
export type KeyOfSet = Pick<VmDisk, 'set' | 'keyVersion'>;

/** A key version that can be used again. */
export interface ReturnedKey extends KeyOfSet {
  /** The disk host whose outage is over, and no other; absent: that of every host. */
  readonly host?: string;
  /**
   * Which losses of it are over: those up to a number and every end of an identity, or only outages, if the vault is just
   * reachable again. Absent: all of them.
   */
  readonly ends?: number | 'outages';
}

/** The start of a machine by the platform. */
export interface Restart {
  readonly work: Work & { readonly kind: 'start' };
  /** Whether no other key of its disks is lost. If one is, the start is owed until that key is back. */
  readonly isClear: boolean;
}

/**
 * Access to a key is restored: it blocks the machine no longer. No machine starts by itself (CMK-125) without `restart`. With
 * it, a machine that a lost key stopped starts again, once for this return, if no other key blocks it and its user has not
 * switched it off since. If it is still stopping, it starts when it is off. If another key is lost, the start is owed until
 * that key is back. A return that is older than a loss of the machine decides nothing.
 */
export const keyAccessReturned =
  (at: Instant, key: ReturnedKey, restart?: Restart) =>
  (vm: Vm): readonly VmEvent[] => {
    if (vm.status !== 'active') return [];
    const isKey = (of: KeyOfSet & Pick<KeyLoss, 'host'>): boolean => isLossOf(of, key);
    if (vm.blocked.some((loss) => isKey(loss) && !isEnded(loss, key.ends))) return [];
    const isBlocked = vm.blocked.some(isKey);
    const isOwed = owesStart(vm) && vm.disks.some(isKey);
    const ofHost = key.host === undefined ? {} : { host: key.host };
    const returned = { type: 'KeyAccessReturned', set: key.set, keyVersion: key.keyVersion, ...ofHost, at } as const;
    if (restart === undefined || heldByKey(vm) === undefined || !(isBlocked || isOwed))
      return isBlocked ? [returned] : [];
    if (!restart.isClear || !blockersOf(vm).every(isKey)) return isBlocked ? [{ ...returned, owesStart: true }] : [];
    if (vm.power.state === 'stopping') return [{ ...returned, startsAgain: restart.work }];
    return [...(isBlocked ? [returned] : []), { type: 'VmStarting', work: restart.work, from: 'stopped', at }];
  };

/**
 * A disk moved to another key (CMK-121). That also gives access back to a machine that the old key stopped: with `restart` it
 * starts again, once, if no other key blocks it; otherwise the start is owed.
 */
export const diskKeyReplaced =
  (at: Instant, changed: DiskKey, restart?: Restart) =>
  (vm: Vm): readonly VmEvent[] => {
    const moved = diskKeyChanged(at, changed)(vm);
    if (vm.status !== 'active' || restart === undefined || heldByKey(vm) === undefined) return moved;
    const isFreed = moved.length > 0 && vm.blocked.some(({ disk }) => disk === changed.disk);
    // The start is owed and the disk had moved before: an earlier decision was not carried out.
    const isOwed = owesStart(vm) && vm.disks.some(({ disk }) => disk === changed.disk);
    if (!(isFreed || isOwed)) return moved;
    const isClear = restart.isClear && blockersOf(vm).every(({ disk }) => disk === changed.disk);
    if (!isClear) return moved.map((one) => ({ ...one, owesStart: true }));
    if (vm.power.state === 'stopping') {
      const { set, keyVersion } = changed;
      const news = moved.length > 0 ? moved : [{ type: 'KeyAccessReturned', set, keyVersion, at } as const];
      return news.map((one) => ({ ...one, startsAgain: restart.work }));
    }
    return [...moved, { type: 'VmStarting', work: restart.work, from: 'stopped', at }];
  };

/** The end of an identity is over with any return: access is restored to another identity only. */
const isEnded = ({ reason, accessEpoch, principal }: KeyLoss, ends: ReturnedKey['ends']): boolean => {
  if (ends === undefined) return true;
  return ends === 'outages' ? isOutage(reason) : accessEpoch <= ends || principal !== undefined;
};

/** Up to which number losses are over with one that is over. The end of an identity is over without any other loss. */
export const endedWith = ({ accessEpoch, principal }: Pick<KeyLoss, 'accessEpoch' | 'principal'>): number =>
  principal === undefined ? accessEpoch : -1;

/** The losses that block a start. A start does not open disks that a stop left half attached or half detached. */
const blockersOf = ({ blocked, disks }: Machine): Machine['blocked'] =>
  blocked.filter((loss) => disks.some(({ disk, phase }) => disk === loss.disk && phase === 'attached'));

/** The loss because of which the machine is off or stopping; undefined if its user also wants it off. */
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
