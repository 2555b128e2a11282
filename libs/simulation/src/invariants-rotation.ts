import type { RecordedEvent } from '@interlock/event-store';
import type { HistoryLog } from './history-log.ts';
import type { Truth } from './oracle.ts';

/**
 * G6: what a set says about its keys is held against the headers on storage. A version that is neither active nor among
 * `previousKeys` is needed by no disk and no snapshot, so its owner may destroy it.
 */
export const rotationJudge = ({ log, truth }: { readonly log: HistoryLog; readonly truth: Truth }) => {
  const checkSet = (name: string, when: string): void => {
    const set = truth.losses.sets.get(name);
    if (!set || set.isDeleted) return;
    for (const disk of truth.disks.disks.values()) {
      if (disk.set !== name || disk.isDeleting) continue;
      const keyVersion = truth.disks.keyVersionOf(disk);
      if (keyVersion === set.activeKey || set.previousKeys.has(keyVersion)) continue;
      log.violate(
        'G6',
        `${when}, ${disk.name} is under the active key of ${name} (${set.activeKey}) or one of its previous ones`,
        `its header says ${keyVersion || 'nothing readable'}`,
      );
      return;
    }
  };
  return {
    onEvent({ stream, type }: RecordedEvent): void {
      if (type === 'RotationFinished' || type === 'KeyAssigned') checkSet(stream.slice('set-'.length), `at ${type}`);
    },
    checkAll(): void {
      for (const name of truth.losses.sets.keys()) checkSet(name, 'once everything has settled');
    },
  };
};
