import type { ContentRecord } from '@interlock/lab';
import type { History } from '@interlock/lab/judge/journal/history';

/**
 * What guests themselves read and compared since a moment. A guest that starts first verifies all that the machine wrote before; one
 * that keeps running reads back each write. For machines of users: reading their disks directly would need them off. Also for
 * machines in QEMU: their journals name records of files, not places of disks.
 * @param disks full names
 * @param fromMs milliseconds since the epoch
 */
export const comparedByGuests = (history: History, disks: readonly string[], fromMs: number): ContentRecord => {
  const own = new Set(disks);
  /** Outcome of the latest read of each place. */
  const places = new Map<string, { readonly disk: string; readonly length: number; readonly isLost: boolean }>();
  for (const { disk, op, offset, length, invokedAt, ok, reason } of history) {
    const isRead = op === 'read' || op === 'verify';
    if (!isRead || invokedAt < fromMs || !own.has(disk)) continue;
    const isLost = reason === 'CONTENT_MISMATCH' || reason === 'FILE_SYSTEM_DAMAGED';
    // A read that failed for another reason compared nothing. A machine in QEMU checks its file system and its records at one offset.
    if (ok || isLost) places.set(`${disk} ${offset} ${length}`, { disk, length, isLost });
  }
  const all = [...places.values()];
  const sum = (some: typeof all): number => some.reduce((total, { length }) => total + length, 0);
  return {
    disksCompared: new Set(all.map(({ disk }) => disk)).size,
    bytesCompared: sum(all),
    bytesLost: sum(all.filter(({ isLost }) => isLost)),
  };
};
