import type { Category, Cause, EventStore, TransactOptions } from '@interlock/event-store';
import type { Clock, KeyedMutex, Logger, Random } from '@interlock/runtime';
import type { Availability } from '../fleet/availability.ts';
import type { FleetHost } from '../fleet/decider.ts';
import type { DiskHostEvent } from '../fleet/events.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Placement } from '../fleet/placement.ts';
import type { DiskHost } from '../host/disk-host.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import type { RetryQueue } from '../retry-queue.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { DiskEvent } from './events.ts';
import type { Disk } from './state.ts';
import type { StoredHeaders } from './stored-headers.ts';

/** What the processes of the control side share. */
export interface Control {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  /** Those of every host, to read, and to record that a volume which a move left here is removed. `disks` and `snapshots` refuse work on what another host has (`ownStreams`). */
  readonly all: {
    readonly disks: Pick<Category<Disk, DiskEvent>, 'load' | 'loadMany' | 'transact'>;
    readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'load' | 'loadMany' | 'transact'>;
  };
  /** The same, but work that ends something is allowed on what a lost host has (`refusalToEnd`). */
  readonly ending: Pick<Control, 'disks' | 'snapshots'>;
  /** The disk hosts. */
  readonly hosts: Category<FleetHost, DiskHostEvent>;
  readonly fleet: Fleet;
  readonly placement: Placement;
  /** Unique name of this disk host. */
  readonly hostName: string;
  readonly stored: StoredHeaders;
  readonly setKeys: SetKeys;
  readonly host: DiskHost;
  readonly availability: Availability;
  /** A serial queue of work for each disk and snapshot. */
  readonly turns: KeyedMutex;
  readonly retries: RetryQueue;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  /** Aborted when the service ends. */
  readonly signal: AbortSignal;
}

/** Decides and stores events of a disk. @throws CursorConflict if another generation is in force than the guard requires */
export const commitDisk = (
  { disks }: Pick<Control, 'disks'>,
  name: string,
  decide: (disk: Disk) => readonly DiskEvent[],
  cause: Cause,
  options: TransactOptions<Disk> = {},
) => disks.transact(name, decide, cause, options);

/** The same for a snapshot. */
export const commitSnapshot = (
  { snapshots }: Pick<Control, 'snapshots'>,
  name: string,
  decide: (snapshot: Snapshot) => readonly SnapshotEvent[],
  cause: Cause,
  options: TransactOptions<Snapshot> = {},
) => snapshots.transact(name, decide, cause, options);

/** Whether a full resource name is that of a snapshot. */
export const isSnapshotName = (name: string): boolean => name.split('/').at(-2) === 'snapshots';
