import { type CategoryDefinition, Rejection, type Stepping, stepIds, withSteps } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { type HeaderRef, type NewVolume, setOf, type VolumeRef, type WrapRef } from '../disk/encryption.ts';
import { differingFields } from '../disk/request-difference.ts';
import {
  beginMove,
  evolveMove,
  type Moves,
  movesOn,
  refuseLeftElsewhere,
  refuseMoving,
  unmoved,
} from '../fleet/moving.ts';
import { firstHost, ofHost, unfinishedOn } from '../fleet/own.ts';
import type { SnapshotEvent, SnapshotSpec } from './events.ts';

/** A snapshot that exists. */
export interface ActiveSnapshot extends SnapshotSpec, WrapRef, Stepping, Moves {
  readonly status: 'active';
  readonly request: string;
  /** Name of the disk host that has its volume. */
  readonly host: string;
  readonly volume: VolumeRef;
  readonly createdAt: Instant;
}

/**
 * The content of a disk at one moment.
 *
 *   absent ──begin──▶ creating ──finish──▶ active ──delete──▶ deleting ──gone──▶ absent
 *     ▲───────fail──────┘
 */
export type Snapshot = Stepping &
  (
    | { readonly status: 'absent' }
    | ({
        readonly status: 'creating';
        readonly request: string;
        readonly host: string;
        readonly volumeId: string;
        /** It will not be active: what was made is removed. */
        readonly isFailing?: true;
      } & SnapshotSpec)
    | ActiveSnapshot
    | (Omit<ActiveSnapshot, 'status'> & { readonly status: 'deleting' })
  );

export const initial: Snapshot = { status: 'absent' };

export const evolve = (snapshot: Snapshot, event: SnapshotEvent): Snapshot => {
  switch (event.type) {
    case 'SnapshotCreating': {
      const { type: _type, at: _at, host = firstHost, ...spec } = event;
      return { status: 'creating', host, ...spec };
    }
    case 'SnapshotCreated': {
      if (snapshot.status !== 'creating') return snapshot;
      const { type: _type, at, ...created } = event;
      const { request, host } = snapshot;
      return { status: 'active', request, host, ...created, createdAt: at, ...unmoved };
    }
    case 'SnapshotDekRewrapped': {
      if (snapshot.status !== 'active') return snapshot;
      const { keyVersion, generation, headerSequence, headerDigest } = event;
      return { ...snapshot, keyVersion, generation, volume: { ...snapshot.volume, headerSequence, headerDigest } };
    }
    case 'VolumeMoving':
    case 'VolumeMoved':
    case 'VolumeMoveFailed':
    case 'FormerVolumeRemoved':
      return snapshot.status === 'active' ? evolveMove(snapshot, event) : snapshot;
    case 'SnapshotDeleting':
      return snapshot.status === 'active' ? { ...snapshot, status: 'deleting' } : snapshot;
    case 'SnapshotCreateFailing':
      return snapshot.status === 'creating' ? { ...snapshot, isFailing: true } : snapshot;
    case 'SnapshotCreateFailed':
    case 'SnapshotDeleted':
      return initial;
  }
};

/** The events of the current step of a process of a snapshot. */
export const snapshotSteps = (name: string, snapshot: Stepping, process: 'life' | 'key' | 'move'): readonly string[] =>
  stepIds(`snapshot-${name}`, snapshot, process);

/** By event: what later events of the same process continue. */
const processOf = (type: SnapshotEvent['type']): 'life' | 'key' | 'move' => {
  if (type === 'SnapshotDekRewrapped') return 'key';
  return type.startsWith('Snapshot') ? 'life' : 'move';
};

/** How snapshots are stored and listed: by disk, by set, by the DEK they share, by host, and by the host of unfinished work. */
export const snapshots: CategoryDefinition<Snapshot, SnapshotEvent> = {
  name: 'snapshot',
  readable: [
    ...(['uniqueId', 'location', 'sourceDisk', 'sourceUniqueId', 'incremental', 'sizeGib', 'encryption'] as const),
    ...(['volumeId', 'volume.volumeId', 'volume.headerSequence', 'headerSequence', 'host', 'reason'] as const),
    ...(['set', 'previousKeyVersion', 'keyVersion', 'generation', 'accessEpoch', 'at'] as const),
  ],
  stateVersion: 6,
  initial,
  evolve: withSteps(evolve, ({ type }) => [processOf(type)]),
  isGone: (snapshot) => snapshot.status === 'absent',
  indexes: (snapshot) => {
    if (snapshot.status === 'absent') return [];
    const set = setOf(snapshot.encryption);
    return [
      { index: 'source_disk', value: snapshot.sourceDisk },
      { index: 'source_unique_id', value: snapshot.sourceUniqueId },
      ...(set === '' ? [] : [{ index: 'set', value: set }]),
      ...('volume' in snapshot ? [{ index: 'dek', value: snapshot.volume.dekId }] : []),
      ofHost(snapshot.host),
      ...(snapshot.status === 'active' ? movesOn(snapshot) : [unfinishedOn(snapshot.host)]),
    ];
  },
};

type Decision = (snapshot: Snapshot) => readonly SnapshotEvent[];

/**
 * Takes the name and the set. A repeated request has no effect.
 * @throws Rejection ALREADY_EXISTS SNAPSHOT_ALREADY_EXISTS; ABORTED SNAPSHOT_DELETING
 */
export const begin =
  (at: Instant, request: string, volume: NewVolume, spec: SnapshotSpec): Decision =>
  (snapshot) => {
    if (snapshot.status === 'absent') return [{ type: 'SnapshotCreating', ...spec, ...volume, request, at }];
    if (snapshot.status === 'deleting') throw deleting();
    if (snapshot.request === request) return [];
    const differs = differingFields(snapshot.request, request).join(', ');
    throw new Rejection(
      'ALREADY_EXISTS',
      'SNAPSHOT_ALREADY_EXISTS',
      `this snapshot exists and was not asked for in this way, but with another ${differs}: choose another snapshot_id`,
      { field: 'snapshot_id', differs },
    );
  };

/** What a snapshot contains. The disk may have grown since the request. */
export interface Taken {
  readonly volume: VolumeRef;
  readonly wrap: WrapRef;
  readonly sizeGib: number;
}

/** The copy exists. @throws Rejection ABORTED SNAPSHOT_CHANGED if the snapshot is not being created */
export const finish =
  (at: Instant, uniqueId: string, { volume, wrap, sizeGib }: Taken): Decision =>
  (snapshot) => {
    if (snapshot.status === 'active' && snapshot.uniqueId === uniqueId) return [];
    if (snapshot.status !== 'creating' || snapshot.uniqueId !== uniqueId || snapshot.isFailing) throw changed();
    const { location, sourceDisk, sourceUniqueId, incremental, encryption } = snapshot;
    const spec = { uniqueId, location, sourceDisk, sourceUniqueId, incremental, sizeGib, encryption };
    return [{ type: 'SnapshotCreated', ...spec, ...wrap, volume, at }];
  };

/** Whether the copy exists is uncertain: it will not, also if `finish` is stored later. Rule CMK-110. */
export const giveUp =
  (at: Instant, uniqueId: string): Decision =>
  (snapshot) =>
    snapshot.status === 'creating' && snapshot.uniqueId === uniqueId && !snapshot.isFailing
      ? [{ type: 'SnapshotCreateFailing', at }]
      : [];

/** The copy was removed: the name is free. Rule CMK-110. */
export const fail =
  (at: Instant, uniqueId: string, reason: string): Decision =>
  (snapshot) =>
    snapshot.status === 'creating' && snapshot.uniqueId === uniqueId
      ? [{ type: 'SnapshotCreateFailed', reason, at }]
      : [];

/**
 * The header holds a wrap under another key version or generation; the DEK is the same. Rules CMK-15, CMK-80.
 * @throws Rejection ABORTED SNAPSHOT_CHANGED if that is the header of another volume than the snapshot has
 */
export const rewrap =
  (at: Instant, wrap: WrapRef, { volumeId, headerSequence, headerDigest }: HeaderRef, accessEpoch: number): Decision =>
  (snapshot) => {
    const { encryption, keyVersion, volume } = existingWith(snapshot, volumeId);
    if (volume.headerSequence >= headerSequence) return [];
    const set = setOf(encryption);
    return [
      {
        type: 'SnapshotDekRewrapped',
        set,
        previousKeyVersion: keyVersion,
        ...wrap,
        headerSequence,
        headerDigest,
        accessEpoch,
        at,
      },
    ];
  };

/**
 * Announces a move to another host.
 * @throws Rejection ABORTED DISK_MOVING; as `existing`
 */
export const move =
  (at: Instant, host: string, volumeId: string): Decision =>
  (snapshot) =>
    beginMove(existing(snapshot), at, host, volumeId);

/** Announces the deletion of a snapshot. Needs no key (CMK-132). @throws Rejection ABORTED SNAPSHOT_CREATING, DISK_MOVING */
export const remove =
  (at: Instant): Decision =>
  (snapshot) => {
    if (snapshot.status === 'creating') throw creating();
    if (snapshot.status !== 'active') return [];
    refuseMoving(snapshot);
    refuseLeftElsewhere(snapshot);
    return [{ type: 'SnapshotDeleting', at }];
  };

/** The volume of a snapshot that is being deleted was removed. */
export const gone =
  (at: Instant): Decision =>
  (snapshot) =>
    snapshot.status === 'deleting' ? [{ type: 'SnapshotDeleted', set: setOf(snapshot.encryption), at }] : [];

/** @throws Rejection NOT_FOUND SNAPSHOT_NOT_FOUND; ABORTED SNAPSHOT_CREATING, SNAPSHOT_DELETING */
export const existing = (snapshot: Snapshot): ActiveSnapshot => {
  if (snapshot.status === 'active') return snapshot;
  if (snapshot.status === 'deleting') throw deleting();
  if (snapshot.status === 'creating') throw creating();
  throw new Rejection('NOT_FOUND', 'SNAPSHOT_NOT_FOUND', 'no such snapshot');
};

/** As for disks: a later snapshot of the name has another volume. @throws Rejection as `existing`; ABORTED SNAPSHOT_CHANGED */
const existingWith = (snapshot: Snapshot, volumeId: string): ActiveSnapshot => {
  const active = existing(snapshot);
  if (active.volume.volumeId !== volumeId) throw changed();
  return active;
};

const creating = (): Rejection =>
  new Rejection('ABORTED', 'SNAPSHOT_CREATING', 'the snapshot is being made: try again');
const deleting = (): Rejection =>
  new Rejection('ABORTED', 'SNAPSHOT_DELETING', 'the snapshot is being deleted: try again');
const changed = (): Rejection =>
  new Rejection('ABORTED', 'SNAPSHOT_CHANGED', 'the snapshot changed while this was prepared: try again');
