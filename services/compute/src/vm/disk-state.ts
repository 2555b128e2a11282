import { outlivesKeyLoss } from '@interlock/access/outcome';
import type { OpenedDisk } from './events.ts';
import type { PlannedDisk, VmDisk } from './machine.ts';
import type { Vm } from './state.ts';

/** A disk that is being attached to a machine. */
export const newDisk = ({ make: _make, ...planned }: PlannedDisk): VmDisk => ({
  ...planned,
  phase: 'attaching',
  access: 'closed',
  accessEpoch: 0,
  attachEpoch: 0,
});

/** The disks, with the opens of the disk service. */
export const withOpened = (disks: readonly VmDisk[], opened: readonly OpenedDisk[]): readonly VmDisk[] =>
  disks.map((disk) => {
    const found = opened.find((one) => one.disk === disk.disk);
    if (!found) return disk;
    const { isOpenUnsure: _unsure, principal: _before, ...known } = disk;
    const { sku, accessEpoch, attachEpoch, principal, host } = found;
    const as = { ...(principal === undefined ? {} : { principal }), ...(host === undefined ? {} : { host }) };
    return underKey({ ...known, sku, accessEpoch, attachEpoch, ...as, access: 'open' }, found);
  });

/** The set and key version of a disk, as last seen. */
interface KeySeen {
  readonly disk: string;
  readonly set: string;
  readonly keyVersion: string;
  readonly diskVersion?: number;
}

/** The disk under that key, unless a later one is known: responses and facts overtake each other. */
export const underKey = <Known extends KeySeen>(disk: Known, seen: KeySeen): Known => {
  if (disk.disk !== seen.disk || isOutdated(disk, seen)) return disk;
  const { set, keyVersion, diskVersion } = seen;
  return { ...disk, set, keyVersion, ...(diskVersion === undefined ? {} : { diskVersion }) };
};

/** Opened disks under the keys their machine knows now: a disk may have got another key while others were opened. */
export const asKnownBy = (vm: Vm, opened: readonly OpenedDisk[]): readonly OpenedDisk[] => {
  const known: readonly KeySeen[] = vm.status === 'active' || vm.status === 'creating' ? vm.disks : [];
  return opened.map((one) => {
    const seen = known.find(({ disk }) => disk === one.disk);
    return seen !== undefined && isOutdated(seen, one) ? underKey(one, seen) : one;
  });
};

/** Whether what was seen of a disk is older than what is known. */
export const isOutdated = (known: Pick<KeySeen, 'diskVersion'>, seen: Pick<KeySeen, 'diskVersion'>): boolean =>
  seen.diskVersion !== undefined && known.diskVersion !== undefined && seen.diskVersion < known.diskVersion;

/** The disk of a machine that is off, to be closed. */
export const toClose = (disk: VmDisk): VmDisk => ({ ...disk, access: disk.access === 'closed' ? 'closed' : 'closing' });

/** The disk of a machine whose start is interrupted: a start opens every disk, also an open one, and the response may be lost. */
export const maybeReopened = (disk: VmDisk): VmDisk => ({
  ...disk,
  access: disk.access === 'closed' ? 'opening' : disk.access,
  isOpenUnsure: true,
});

/** The disk once it is closed. */
export const closed = ({ isOpenUnsure: _unsure, ...disk }: VmDisk): VmDisk => ({ ...disk, access: 'closed' });

/** Whether the loss of its key makes a disk stop its machine: there is a customer key, and the class is not ultra (CMK-102). */
export const isStoppedByLoss = ({ set, sku }: Pick<VmDisk, 'set' | 'sku'>): boolean =>
  set !== '' && !outlivesKeyLoss(sku);

/** Whether a disk keeps its data through the loss of its key, for as long as its machine runs. */
export const isPinned = ({ set, sku }: Pick<VmDisk, 'set' | 'sku'>): boolean => set !== '' && outlivesKeyLoss(sku);
