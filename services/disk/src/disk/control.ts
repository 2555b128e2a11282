import type { Category, Cause, CursorMove, EventStore, Loaded, RowChange } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { DiskHost } from '../host/disk-host.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import type { RetryQueue } from '../retry-queue.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { DiskEvent } from './events.ts';
import { transactGuarded } from './guarded-commit.ts';
import type { Disk } from './state.ts';
import type { StoredHeaders } from './stored-headers.ts';
import type { Turns } from './turns.ts';

/** What the processes of the control side share. */
export interface Control {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly stored: StoredHeaders;
  readonly setKeys: SetKeys;
  readonly host: DiskHost;
  /** Work on one disk or snapshot, one after the other. */
  readonly turns: Turns;
  readonly retries: RetryQueue;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  /** Aborted when the service ends. */
  readonly signal: AbortSignal;
}

/** What a commit consists of besides its events. */
export interface CommitTerms<State> {
  /** Requires a generation of a set. */
  readonly guard?: CursorMove | undefined;
  /** The headers that the events describe, or end. */
  readonly rows?: readonly RowChange[];
  /** The state as it was read before; it is read again if it has changed. */
  readonly known?: Loaded<State>;
}

/** Decides and stores events of a disk. @throws CursorConflict if another generation is in force than the guard requires */
export const commitDisk = (
  { store, disks }: Pick<Control, 'store' | 'disks'>,
  name: string,
  decide: (disk: Disk) => readonly DiskEvent[],
  cause: Cause,
  terms: CommitTerms<Disk> = {},
) => transactGuarded(store, disks, name, decide, cause, terms);

/** The same for a snapshot. */
export const commitSnapshot = (
  { store, snapshots }: Pick<Control, 'store' | 'snapshots'>,
  name: string,
  decide: (snapshot: Snapshot) => readonly SnapshotEvent[],
  cause: Cause,
  terms: CommitTerms<Snapshot> = {},
) => transactGuarded(store, snapshots, name, decide, cause, terms);

/** Whether a full resource name is that of a snapshot. */
export const isSnapshotName = (name: string): boolean => name.split('/').at(-2) === 'snapshots';
