import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { VolumeRef } from '../disk/encryption.ts';
import { unfinishedOn } from './own.ts';

/**
 * The facts of a move of a disk or snapshot to another host. These names and shapes are on disk: add; never rename, never reuse.
 */
export type MoveEvent =
  /** The barrier: from here on a volume of this id may be at `host`, and is to be removed there unless `VolumeMoved` follows. */
  | { readonly type: 'VolumeMoving'; readonly host: string; readonly volumeId: string; readonly at: Instant }
  /** `host` has the volume, durably and with a header of its own: it works on the disk from now on. */
  | {
      readonly type: 'VolumeMoved';
      readonly host: string;
      readonly volumeId: string;
      /** Epoch of that host, for the access of an open disk: writes that are not flushed may be lost with a later one. */
      readonly hostEpoch?: number;
      readonly at: Instant;
    }
  | { readonly type: 'VolumeMoveFailed'; readonly volumeId: string; readonly reason: string; readonly at: Instant }
  /** What a move or a change of encryption left is removed. */
  | { readonly type: 'FormerVolumeRemoved'; readonly volumeId: string; readonly at: Instant };

/** A volume at a host. */
export interface VolumeAt {
  readonly host: string;
  readonly volumeId: string;
}

/** What the state of a disk or snapshot knows of moves. */
export interface Moves {
  /** The volume that a move in progress makes; `null` for none. */
  readonly moving: VolumeAt | null;
  /** What a move or a change of encryption left: a volume that is to be removed, and which of both did; `null` for none. */
  readonly former: (VolumeAt & { readonly leftBy: 'move' | 'encryption' }) | null;
  /** Why the last move failed; `null` if none did. */
  readonly moveFailure: string | null;
}

/** A disk or snapshot that exists. */
export interface Movable extends Moves {
  readonly host: string;
  readonly volume: VolumeRef;
}

/** Before the first move. */
export const unmoved: Moves = { moving: null, former: null, moveFailure: null };

/** Applies the event of a move. */
export const evolveMove = <State extends Movable>(state: State, event: MoveEvent): State => {
  const { host, volume, moving, former } = state;
  switch (event.type) {
    case 'VolumeMoving':
      return { ...state, moving: { host: event.host, volumeId: event.volumeId }, moveFailure: null };
    case 'VolumeMoved': {
      const moved = { host: event.host, volume: { ...volume, volumeId: event.volumeId } };
      return { ...state, ...moved, moving: null, former: { host, volumeId: volume.volumeId, leftBy: 'move' } };
    }
    case 'VolumeMoveFailed':
      return {
        ...state,
        moving: null,
        former: moving ? { ...moving, leftBy: 'move' } : former,
        moveFailure: event.reason,
      };
    case 'FormerVolumeRemoved':
      return former?.volumeId === event.volumeId ? { ...state, former: null } : state;
  }
};

/** The index entries of a disk or snapshot with a move in progress, or with something that is left: by both hosts. */
export const movesOn = ({ host, moving, former }: Movable) => {
  const others = [moving, former].filter((one) => one !== null).map((one) => one.host);
  return others.length === 0 ? [] : [...new Set([host, ...others])].map(unfinishedOn);
};

/**
 * Announces a move. The host that has the disk, and a move there that is in progress, have no effect.
 * @throws Rejection ABORTED DISK_MOVING
 */
export const beginMove = (state: Movable, at: Instant, host: string, volumeId: string): readonly MoveEvent[] => {
  if (state.moving?.host === host || (state.host === host && state.moving === null)) return [];
  refuseMoving(state);
  refuseLeft(state);
  return [{ type: 'VolumeMoving', host, volumeId, at }];
};

/**
 * The announced volume is complete at the receiver: it has the disk from now on.
 * @throws Rejection ABORTED DISK_CHANGED if that move has ended: an open, or a later process of the sender, ended it
 */
export const finishMove = (
  { moving, volume }: Movable,
  at: Instant,
  volumeId: string,
  hostEpoch: number,
): readonly MoveEvent[] => {
  if (moving?.volumeId === volumeId) return [{ type: 'VolumeMoved', ...moving, hostEpoch, at }];
  if (volume.volumeId === volumeId) return [];
  throw new Rejection(
    'ABORTED',
    'DISK_CHANGED',
    'this move has ended meanwhile, because the disk was opened or its host restarted',
    { volume: volumeId },
  );
};

/** The announced move has failed; the disk stays where it is. */
export const failMove = ({ moving }: Moves, at: Instant, volumeId: string, reason: string): readonly MoveEvent[] =>
  moving?.volumeId === volumeId ? [{ type: 'VolumeMoveFailed', volumeId, reason, at }] : [];

/** An access needs the data where it is: a move in progress ends. */
export const endMove = ({ moving }: Moves, at: Instant): readonly MoveEvent[] =>
  moving === null ? [] : [{ type: 'VolumeMoveFailed', volumeId: moving.volumeId, reason: 'DISK_OPEN', at }];

/** What was left is removed. */
export const noteRemoved = ({ former }: Moves, at: Instant, volumeId: string): readonly MoveEvent[] =>
  former?.volumeId === volumeId ? [{ type: 'FormerVolumeRemoved', volumeId, at }] : [];

/** @throws Rejection ABORTED DISK_MOVING */
export const refuseMoving = ({ moving }: Moves): void => {
  if (moving === null) return;
  throw new Rejection('ABORTED', 'DISK_MOVING', `the data is moving to disk host ${moving.host}: try again later`, {
    disk_host: `diskHosts/${moving.host}`,
  });
};

/**
 * A record has room for one volume that is to be removed.
 * @throws Rejection ABORTED DISK_MOVING
 */
const refuseLeft = ({ former }: Moves): void => {
  if (former === null) return;
  throw new Rejection(
    'ABORTED',
    'DISK_MOVING',
    `disk host ${former.host} still has a volume that an earlier move left: try again when it has removed that`,
    { disk_host: `diskHosts/${former.host}` },
  );
};

/** The same, for what can remove a volume at the host of the disk itself. */
export const refuseLeftElsewhere = (state: Movable): void => {
  if (state.former?.host !== state.host) refuseLeft(state);
};
