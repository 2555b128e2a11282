import type { Cause, TransactOptions } from '@interlock/event-store';
import { type Control, isSnapshotName } from '../disk/control.ts';
import { existing as existingDisk, move as moveDisk } from '../disk/decider.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Movable, MoveEvent } from '../fleet/moving.ts';
import { Placement } from '../fleet/placement.ts';
import {
  type ActiveSnapshot,
  existing as existingSnapshot,
  move as moveSnapshot,
  type Snapshot,
} from '../snapshot/decider.ts';
import { followDiskHeader, followSnapshotHeader } from './header-following.ts';

/** A disk or snapshot that exists. */
export type Moved = ActiveDisk | ActiveSnapshot;

/** A decision about the move of something that exists. */
type MoveDecision = (state: Movable) => readonly MoveEvent[];

/** What differs between moving a disk and moving a snapshot. */
export interface MovedKind {
  /** Of any host; undefined unless it exists and is neither being made nor deleted. */
  load(name: string): Promise<Moved | undefined>;
  /** Lets the events follow the header. @throws Rejection as `existing` */
  follow(name: string, cause: Cause): Promise<void>;
  /**
   * Announces a move, if the receiver takes something new. @returns what is stored then
   * @throws Rejection as `move` of disks and snapshots; FAILED_PRECONDITION NO_DISK_HOST_OPEN
   */
  announce(name: string, host: string, volumeId: string, cause: Cause, expected?: number): Promise<Moved>;
  /** Commits at the host that has it, or at any host if that is lost. */
  commit(
    name: string,
    decide: MoveDecision,
    cause: Cause,
    options?: Pick<TransactOptions<unknown>, 'rows'>,
  ): Promise<void>;
}

/** The kind of a full name. */
export const movedKind = (control: Control, name: string): MovedKind =>
  isSnapshotName(name) ? movedSnapshots(control) : movedDisks(control);

const movedDisks = (control: Control): MovedKind => {
  const { disks, ending, all, store, hosts, clock } = control;
  return {
    async load(name) {
      const { state } = await all.disks.load(name);
      return state.status === 'active' ? state : undefined;
    },
    follow: async (name, cause) => void (await followDiskHeader(control, name, cause)),
    async announce(name, host, volumeId, cause, expected) {
      const decide = moveDisk(clock.now(), host, volumeId);
      const { state } = await new Placement(store, hosts, host).begin(disks, name, decide, cause, { expected });
      return existingDisk(state);
    },
    async commit(name, decide, cause, options = {}) {
      const decideActive = (state: Disk) => (state.status === 'active' ? decide(state) : []);
      await ending.disks.transact(name, decideActive, cause, { ...options, step: 'move' });
    },
  };
};

const movedSnapshots = (control: Control): MovedKind => {
  const { snapshots, ending, all, store, hosts, clock } = control;
  return {
    async load(name) {
      const { state } = await all.snapshots.load(name);
      return state.status === 'active' ? state : undefined;
    },
    follow: (name, cause) => followSnapshotHeader(control, name, cause),
    async announce(name, host, volumeId, cause, expected) {
      const decide = moveSnapshot(clock.now(), host, volumeId);
      const { state } = await new Placement(store, hosts, host).begin(snapshots, name, decide, cause, { expected });
      return existingSnapshot(state);
    },
    async commit(name, decide, cause, options = {}) {
      const decideActive = (state: Snapshot) => (state.status === 'active' ? decide(state) : []);
      await ending.snapshots.transact(name, decideActive, cause, { ...options, step: 'move' });
    },
  };
};
