import { outlivesKeyLoss } from '@interlock/access/outcome';
import { Rejection } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { beginMove, refuseLeftElsewhere, refuseMoving } from '../fleet/moving.ts';
import { checkSize } from './classes.ts';
import {
  type Encryption,
  type HeaderRef,
  type NewVolume,
  type Sku,
  sameEncryption,
  setOf,
  skuOnWire,
  type VolumeRef,
  type WrapRef,
} from './encryption.ts';
import type { DiskEvent, DiskSpec } from './events.ts';
import { differingFields } from './request-difference.ts';
import type { ActiveDisk, Disk, DiskAccess } from './state.ts';

/** A command with its arguments: the events that it leads to in a state. */
export type Decision = (disk: Disk) => readonly DiskEvent[];

/**
 * Takes the name and the set. A repeated request has no effect, whether the disk is being created or exists.
 * @throws Rejection ALREADY_EXISTS DISK_ALREADY_EXISTS; ABORTED DISK_DELETING. Rule CMK-110.
 */
export const begin =
  (at: Instant, request: string, volume: NewVolume, spec: DiskSpec): Decision =>
  (disk) => {
    if (disk.status === 'absent') return [{ type: 'DiskCreating', ...spec, ...volume, request, at }];
    if (disk.status === 'deleting') throw deleting();
    if (disk.request === request) return [];
    const differs = differingFields(disk.request, request).join(', ');
    throw new Rejection(
      'ALREADY_EXISTS',
      'DISK_ALREADY_EXISTS',
      `this disk exists and was not asked for in this way, but with another ${differs}: choose another disk_id`,
      { field: 'disk_id', differs },
    );
  };

/** The volume exists and the DEK is wrapped: the disk exists. @throws Rejection ABORTED DISK_CHANGED if it is not being created */
export const finish =
  (
    at: Instant,
    made: {
      readonly uniqueId: string;
      readonly volume: VolumeRef;
      readonly wrap: WrapRef;
      readonly accessEpoch: number;
    },
  ): Decision =>
  (disk) => {
    const { uniqueId, volume, wrap, accessEpoch } = made;
    if (disk.status === 'active' && disk.uniqueId === uniqueId) return [];
    if (disk.status !== 'creating' || disk.uniqueId !== uniqueId || disk.isFailing) throw changed();
    const { location, sku, sizeGib, encryption, source } = disk;
    const spec = { uniqueId, location, sku, sizeGib, encryption, source };
    return [{ type: 'DiskCreated', ...spec, ...wrap, volume, accessEpoch, at }];
  };

/** Whether the disk exists is uncertain: it will not, also if `finish` is stored later. Rule CMK-110. */
export const giveUp =
  (at: Instant, uniqueId: string): Decision =>
  (disk) =>
    disk.status === 'creating' && disk.uniqueId === uniqueId && !disk.isFailing
      ? [{ type: 'DiskCreateFailing', at }]
      : [];

/** The volume was removed: the name is free. Rule CMK-110. */
export const fail =
  (at: Instant, uniqueId: string, reason: string): Decision =>
  (disk) =>
    disk.status === 'creating' && disk.uniqueId === uniqueId ? [{ type: 'DiskCreateFailed', reason, at }] : [];

/**
 * Announces another encryption. The one that it has already has no effect.
 * @throws Rejection FAILED_PRECONDITION DISK_ATTACHED (VM-25, VM-32, CMK-53, CMK-54), DISK_IN_ACTIVE_ACCESS; ABORTED DISK_CHANGING,
 *   DISK_MOVING
 */
export const beginChange =
  (at: Instant, encryption: Encryption, volumeId: string): Decision =>
  (disk) => {
    const active = existing(disk);
    if (active.changing === null && sameEncryption(active.encryption, encryption)) return [];
    if (active.changing !== null && sameEncryption(active.changing.encryption, encryption)) return [];
    refuseChanging(active);
    if (active.holder && !active.holder.isDeallocated) {
      const { virtualMachine } = active.holder;
      throw attached(
        active,
        `Cannot change Encryption Setting of disk while it is attached to ${virtualMachine} and that is not deallocated: a machine that is only stopped still holds its disks. Deallocate it, or detach the disk, and retry the operation.`,
      );
    }
    refuseUserAccess(active, at);
    refuseMoving(active);
    refuseLeftElsewhere(active);
    return [{ type: 'EncryptionChanging', encryption, volumeId, at }];
  };

/**
 * Why a disk that is open stays at its host, in words; undefined: it may move. The machine of an open ultra disk would lose its data if
 * the key is lost during the move (CMK-102), and the clients of direct access do not follow a disk.
 */
export const whyItStays = (active: ActiveDisk, at: Instant): string | undefined => {
  const access = accessAt(active, at);
  if (access?.by === 'user') return 'a user has direct access to it';
  const isKept = access !== null && outlivesKeyLoss(skuOnWire[active.sku]);
  return isKept ? `it is an ultra disk, and ${active.holder?.virtualMachine} has it open` : undefined;
};

/**
 * Announces a move to another host, also of a disk that a machine has open.
 * @throws Rejection FAILED_PRECONDITION DISK_OPEN; ABORTED DISK_CHANGING, DISK_MOVING
 */
export const move =
  (at: Instant, host: string, volumeId: string): Decision =>
  (disk) => {
    const active = existing(disk);
    const events = beginMove(active, at, host, volumeId);
    if (events.length === 0) return [];
    refuseChanging(active);
    const why = whyItStays(active, at);
    if (why !== undefined) throw staysHere(why, active.holder?.virtualMachine);
    return events;
  };

/** The refusal to move an open disk. */
export const staysHere = (why: string, virtualMachine = ''): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'DISK_OPEN', `the disk stays at its host while it is open: ${why}`, {
    virtual_machine: virtualMachine,
  });

/** The result of a change of encryption. */
export interface Changed {
  readonly volume: VolumeRef;
  readonly wrap: WrapRef;
  readonly accessEpoch: number;
}

/**
 * The content is under the announced encryption.
 * @param announced the volume id of the announcement: this does not end a later change
 * @throws Rejection ABORTED DISK_CHANGED when it is not announced
 */
export const finishChange =
  (at: Instant, announced: string, { volume, wrap, accessEpoch }: Changed): Decision =>
  (disk) => {
    const active = existing(disk);
    const { changing, volume: before } = active;
    const isDone = before.volumeId === volume.volumeId && before.headerSequence === volume.headerSequence;
    if (changing === null && isDone) return [];
    if (changing?.volumeId !== announced) throw changed();
    const { encryption } = changing;
    const previousSet = setOf(active.encryption);
    return [{ type: 'DiskEncryptionChanged', encryption, previousSet, volume, ...wrap, accessEpoch, at }];
  };

/** The change announced with that volume id failed; the disk is unchanged. */
export const failChange =
  (at: Instant, announced: string, reason: string): Decision =>
  (disk) =>
    disk.status === 'active' && disk.changing?.volumeId === announced
      ? [{ type: 'EncryptionChangeFailed', reason, at }]
      : [];

/**
 * The header holds a wrap under another key version or generation; the DEK is the same. Rules CMK-14, CMK-15, CMK-80.
 * @throws Rejection ABORTED DISK_CHANGED if that is the header of another volume than the disk has
 */
export const rewrap =
  (at: Instant, wrap: WrapRef, { volumeId, headerSequence, headerDigest }: HeaderRef, accessEpoch: number): Decision =>
  (disk) => {
    const { encryption, keyVersion, volume } = existingWith(disk, volumeId);
    if (volume.headerSequence >= headerSequence) return [];
    const set = setOf(encryption);
    return [
      {
        type: 'DekRewrapped',
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
 * Checks whether the disk may grow to that size. Rules VM-27, VM-28.
 * @throws Rejection INVALID_ARGUMENT DISK_CANNOT_SHRINK, DISK_SIZE_INVALID; FAILED_PRECONDITION DISK_ATTACHED
 */
export const growable =
  (sizeGib: number) =>
  (disk: Disk): ActiveDisk => {
    const active = existing(disk);
    if (sizeGib < active.sizeGib) {
      throw new Rejection('INVALID_ARGUMENT', 'DISK_CANNOT_SHRINK', `size_gib must not be below ${active.sizeGib}`, {
        field: 'size_gib',
        value: String(sizeGib),
        current: String(active.sizeGib),
      });
    }
    checkSize(active.sku, sizeGib);
    const { holder } = active;
    if (sizeGib > active.sizeGib && holder?.isOsDisk === true && !holder.isDeallocated) {
      throw attached(
        active,
        `Cannot resize disk while it is the OS disk of ${holder.virtualMachine} and that is not deallocated: a machine that is only stopped still holds its disks. Deallocate it and retry the operation.`,
      );
    }
    refuseChanging(active);
    refuseMoving(active);
    return active;
  };

/** The volume is larger. @throws Rejection as `rewrap` */
export const grow =
  (at: Instant, sizeGib: number, { volumeId, headerSequence, headerDigest }: HeaderRef): Decision =>
  (disk) =>
    existingWith(disk, volumeId).sizeGib >= sizeGib
      ? []
      : [{ type: 'DiskGrown', sizeGib, headerSequence, headerDigest, at }];

/** Classes between which a disk can change: those with the same abilities (VM-26). */
const exchangeable: readonly Sku[] = ['standard_hdd', 'standard_ssd', 'premium_ssd'];
/** Most changes of the class in a day (VM-26). */
const skuChangesMax = 2;
const dayMs = 86_400_000;

/**
 * Changes the class (VM-26).
 * @throws Rejection INVALID_ARGUMENT DISK_SKU_CHANGE_NOT_SUPPORTED, DISK_SIZE_INVALID; FAILED_PRECONDITION DISK_ATTACHED,
 *   DISK_IN_ACTIVE_ACCESS, DISK_CHANGING, DISK_SKU_CHANGED_TWICE
 */
export const changeSku =
  (at: Instant, sku: Sku): Decision =>
  (disk) => {
    const active = existing(disk);
    if (active.sku === sku) return [];
    if (!exchangeable.includes(active.sku) || !exchangeable.includes(sku)) {
      const allowed = exchangeable.map((one) => skuOnWire[one]).join(', ');
      throw new Rejection(
        'INVALID_ARGUMENT',
        'DISK_SKU_CHANGE_NOT_SUPPORTED',
        `a ${skuOnWire[active.sku]} disk cannot become ${skuOnWire[sku]}: only ${allowed} can be exchanged. Create a disk of the other class as a copy.`,
        { field: 'sku', sku: skuOnWire[active.sku], wanted: skuOnWire[sku] },
      );
    }
    checkSize(sku, active.sizeGib);
    refuseChanging(active);
    const { holder } = active;
    if (holder && !holder.isDeallocated) {
      throw attached(
        active,
        `Cannot change the class of a disk while it is attached to ${holder.virtualMachine} and that is not deallocated. Deallocate it and retry the operation.`,
      );
    }
    refuseUserAccess(active, at);
    const recent = (active.skuChangedAt ?? []).filter((changedAt) => changedAt > at - dayMs);
    if (recent.length >= skuChangesMax) {
      const again = new Date((recent[0] ?? at) + dayMs).toISOString();
      throw new Rejection(
        'FAILED_PRECONDITION',
        'DISK_SKU_CHANGED_TWICE',
        `the class of a disk can be changed ${skuChangesMax} times in 24 hours: try again after ${again}`,
        { retry_after: again },
      );
    }
    return [{ type: 'DiskSkuChanged', sku, at }];
  };

/**
 * Announces the deletion of a disk. Needs no key (CMK-132). A change of encryption has the disk's turn while it runs, so only an
 * interrupted one is found here. It is deleted with the disk, because a damaged volume cannot be reconciled.
 * @throws Rejection FAILED_PRECONDITION DISK_ATTACHED, DISK_IN_ACTIVE_ACCESS; ABORTED DISK_CREATING, DISK_MOVING
 */
export const remove =
  (at: Instant): Decision =>
  (disk) => {
    if (disk.status === 'absent' || disk.status === 'deleting') return [];
    if (disk.status === 'creating')
      throw new Rejection('ABORTED', 'DISK_CREATING', 'the disk is being made: try again');
    if (disk.holder) throw attached(disk, `the disk is attached to ${disk.holder.virtualMachine}: detach it first`);
    refuseUserAccess(disk, at);
    refuseMoving(disk);
    refuseLeftElsewhere(disk);
    return [{ type: 'DiskDeleting', at }];
  };

/** The volume of a disk that is being deleted was removed. */
export const gone =
  (at: Instant): Decision =>
  (disk) =>
    disk.status === 'deleting' ? [{ type: 'DiskDeleted', set: setOf(disk.encryption), at }] : [];

/** @throws Rejection NOT_FOUND DISK_NOT_FOUND; ABORTED DISK_CREATING or DISK_DELETING while it is being created or deleted */
export const existing = (disk: Disk): ActiveDisk => {
  if (disk.status === 'active') return disk;
  if (disk.status === 'deleting') throw deleting();
  if (disk.status === 'creating') throw new Rejection('ABORTED', 'DISK_CREATING', 'the disk is being made: try again');
  throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no such disk');
};

/**
 * A process that was paused between a header and its commit may find another volume, or a later disk of the name: its host
 * was replaced meanwhile. @throws Rejection as `existing`; ABORTED DISK_CHANGED
 */
const existingWith = (disk: Disk, volumeId: string): ActiveDisk => {
  const active = existing(disk);
  if (active.volume.volumeId !== volumeId) throw changed();
  return active;
};

/** The access, unless it has expired. */
export const accessAt = ({ access }: ActiveDisk, at: Instant): DiskAccess | null =>
  access?.by === 'user' && access.expiresAt <= at ? null : access;

/** @throws Rejection FAILED_PRECONDITION DISK_IN_ACTIVE_ACCESS */
export const refuseUserAccess = (disk: ActiveDisk, at: Instant): void => {
  if (accessAt(disk, at)?.by !== 'user') return;
  throw new Rejection(
    'FAILED_PRECONDITION',
    'DISK_IN_ACTIVE_ACCESS',
    'a user has direct access to the disk: end that access first',
  );
};

/** @throws Rejection ABORTED DISK_CHANGING */
export const refuseChanging = (disk: ActiveDisk): void => {
  if (disk.changing === null) return;
  throw new Rejection('ABORTED', 'DISK_CHANGING', 'the encryption of the disk is being changed: try again');
};

/** The refusal of a command that is not allowed while a machine has the disk. */
export const attached = ({ holder }: ActiveDisk, message: string): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', message, { virtual_machine: holder?.virtualMachine ?? '' });
const deleting = (): Rejection => new Rejection('ABORTED', 'DISK_DELETING', 'the disk is being deleted: try again');
/** The refusal of a command that was prepared on an older state. */
export const changed = (): Rejection =>
  new Rejection('ABORTED', 'DISK_CHANGED', 'the disk changed while this was prepared: read it again and decide again');
