import type { Cause } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Control } from '../disk/control.ts';
import type { DiskCreation } from '../disk/creation.ts';
import { finishDrain } from '../fleet/draining.ts';
import { ofHostIn, unfinishedOn } from '../fleet/own.ts';
import type { EncryptionChange } from '../moves/encryption-change.ts';
import type { VolumeMoves } from '../moves/volume-moves.ts';
import type { SnapshotCreation } from '../snapshot/creation.ts';
import { finishDiskDeletion, finishSnapshotDeletion } from './deletion.ts';

/**
 * Time between two searches for unfinished work, in milliseconds. A search rarely finds any: failed calls reconcile what they
 * leave, unless the store stores a commit after it reported that the commit is missing.
 */
const searchMs = 30_000;

/**
 * Reconciles what a crash left unfinished on this host before anything is served, and searches for more until the service ends. Creations are
 * undone, deletions finished, encryption changes finished or undone as the header says (CMK-110). Creations and deletions of hosts that
 * were declared lost are ended too, by the first host that finds them. Work that cannot be reconciled
 * now, because a volume is damaged or the store unreachable, is reported and repeated; the rest is served meanwhile.
 */
export const startWatchdog = async (
  control: Control,
  processes: {
    readonly diskCreation: DiskCreation;
    readonly snapshotCreation: SnapshotCreation;
    readonly encryptionChange: EncryptionChange;
    readonly moves: Pick<VolumeMoves, 'reconcile'>;
  },
  cause: Cause,
): Promise<void> => {
  const { disks, snapshots, turns, retries, clock, fleet, log, signal } = control;
  const { diskCreation, snapshotCreation, encryptionChange, moves } = processes;
  const isHere = ofHostIn(control.hostName);
  // What moves is unfinished on both hosts.
  const mayEnd = (found: Parameters<typeof isHere>[0]): boolean =>
    isHere(found) || ('host' in found.state && fleet.isLost(found.state.host));

  const reconcileDisk = async (name: string, isOwn: boolean): Promise<void> => {
    await diskCreation.undo(name, 'INTERRUPTED', cause);
    // The volume of a lost host says nothing any more.
    if (isOwn) await encryptionChange.reconcile(name, cause);
    await finishDiskDeletion(control, name, cause);
  };
  const reconcileSnapshot = async (name: string): Promise<void> => {
    await snapshotCreation.undo(name, 'INTERRUPTED', cause);
    await finishSnapshotDeletion(control, name, cause);
  };
  const reconcile = async (name: string, work: () => Promise<void>): Promise<void> => {
    // A call that changes the resource has its turn, and queued work will run there.
    if (!turns.isFree(name) || retries.has(name)) return;
    await turns(name, work).catch((error: unknown) => {
      log.error('unfinished work could not be reconciled yet', { name, error });
      retries.add(name, work);
    });
  };
  const searchOn = async (host: string): Promise<void> => {
    const unfinished = { index: unfinishedOn(host) };
    for (const found of await disks.listAll(unfinished)) {
      if (mayEnd(found)) await reconcile(found.id, () => reconcileDisk(found.id, isHere(found)));
      await reconcile(found.id, () => moves.reconcile(found.id, cause));
    }
    for (const found of await snapshots.listAll(unfinished)) {
      if (mayEnd(found)) await reconcile(found.id, () => reconcileSnapshot(found.id));
      await reconcile(found.id, () => moves.reconcile(found.id, cause));
    }
  };
  const search = async (): Promise<void> => {
    const lost = fleet.list().flatMap(({ name, status }) => (status === 'lost' ? [name] : []));
    for (const host of [control.hostName, ...lost]) await searchOn(host);
    await finishDrain(control, control.hostName, cause);
  };
  const watch = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(searchMs, signal);
      if (signal.aborted) return;
      await search().catch((error: unknown) => log.warn('the search for unfinished work failed', { error }));
    }
  };

  await search();
  outsideOfCalls(() => void watch());
};
