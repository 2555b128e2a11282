import type { Category, Cause, EventStore } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, Logger } from '@interlock/runtime';
import type { DiskCreation } from '../disk/creation.ts';
import { gone as diskGone } from '../disk/decider.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import { type Disk, volumesOf } from '../disk/state.ts';
import type { Turns } from '../disk/turns.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { EncryptionChange } from '../moves/encryption-change.ts';
import type { SnapshotCreation } from '../snapshot/creation.ts';
import { type Snapshot, gone as snapshotGone } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { Settling } from './settling.ts';

/**
 * How often it is looked for what is unfinished, in milliseconds. Seldom something is found: what a call leaves is settled by
 * itself, unless an announcement is stored after the store had answered again that it is not there.
 */
const lookMs = 30_000;

/**
 * The watchdog: settles what a crash left unfinished, before anything is served, and goes on looking for what nobody works on
 * until `signal` is aborted. Creations are undone, changes of encryption finished or undone as the header says, deletions
 * finished (CMK-110). What cannot be settled now, because its volume is damaged or the store is away, is reported and does
 * not keep the rest from being served; it is tried again and again, and with the next request about it.
 */
export const recover = async (
  parts: {
    readonly store: EventStore;
    readonly stored: Pick<StoredHeaders, 'remove'>;
    readonly disks: Category<Disk, DiskEvent>;
    readonly snapshots: Category<Snapshot, SnapshotEvent>;
    readonly diskCreation: DiskCreation;
    readonly snapshotCreation: SnapshotCreation;
    readonly encryptionChange: EncryptionChange;
    readonly volumes: Volumes;
    readonly turns: Turns;
    readonly settling: Settling;
    readonly clock: Clock;
    readonly log: Logger;
    readonly signal: AbortSignal;
  },
  cause: Cause,
): Promise<void> => {
  const { store, stored, disks, snapshots, diskCreation, snapshotCreation, encryptionChange, volumes } = parts;
  const { turns, settling, clock, log, signal } = parts;
  const unfinished = { index: { index: 'unfinished', value: 'yes' } };

  const settleDisk = async (name: string): Promise<void> => {
    const { state } = await disks.load(name);
    if (state.status === 'creating') return diskCreation.undo(name, 'INTERRUPTED', cause);
    if (state.status === 'active') return encryptionChange.settle(name, cause);
    if (state.status !== 'deleting') return;
    for (const volumeId of volumesOf(state)) await volumes.remove(volumeId);
    const rows = volumesOf(state).map(stored.remove);
    await transactGuarded(store, disks, name, diskGone(clock.now()), cause, { rows });
  };
  const settleSnapshot = async (name: string): Promise<void> => {
    const { state } = await snapshots.load(name);
    if (state.status === 'creating') return snapshotCreation.undo(name, 'INTERRUPTED', cause);
    if (state.status !== 'deleting') return;
    await volumes.remove(state.volume.volumeId);
    const rows = [stored.remove(state.volume.volumeId)];
    await transactGuarded(store, snapshots, name, snapshotGone(clock.now()), cause, { rows });
  };
  const settled = (name: string, settle: () => Promise<void>): Promise<void> =>
    turns(name, settle).catch((error: unknown) => {
      log.error('unfinished work could not be settled yet', { name, error });
      settling.later(name, settle);
    });

  /** Whoever makes or changes something has its turn, and what is settled later is tried again there. */
  const isLeft = (name: string): boolean => turns.isFree(name) && !settling.has(name);
  const look = async (): Promise<void> => {
    for (const { id } of await disks.listAll(unfinished)) if (isLeft(id)) await settled(id, () => settleDisk(id));
    for (const { id } of await snapshots.listAll(unfinished))
      if (isLeft(id)) await settled(id, () => settleSnapshot(id));
  };
  const watch = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(lookMs, signal);
      if (signal.aborted) return;
      await look().catch((error: unknown) => log.warn('unfinished work could not be looked for', { error }));
    }
  };

  await look();
  outsideOfCalls(() => void watch());
};
