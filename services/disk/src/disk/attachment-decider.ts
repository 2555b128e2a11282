import { Rejection } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import { endMove } from '../fleet/moving.ts';
import { diskClasses } from './classes.ts';
import { attached, changed, type Decision, existing, refuseChanging, refuseUserAccess } from './decider.ts';
import type { AccessLevel, DiskEvent } from './events.ts';
import type { ActiveDisk, Disk } from './state.ts';

/**
 * Reserves the disk for a machine. A repeated request has no effect, also after a detach, and neither has one that was given
 * up. Rules VM-07, VM-18.
 * @throws Rejection FAILED_PRECONDITION DISK_ATTACHED, DISK_IN_ACTIVE_ACCESS, DISK_CHANGING; INVALID_ARGUMENT
 *   OS_DISK_NOT_SUPPORTED (CMK-61)
 */
export const attach =
  (
    at: Instant,
    request: { readonly virtualMachine: string; readonly isOsDisk: boolean; readonly requestId: string },
  ): Decision =>
  (disk) => {
    const active = existing(disk);
    if (active.attachRequests.includes(request.requestId) || isGivenUp(active, request.requestId)) return [];
    const { holder } = active;
    if (holder?.virtualMachine === request.virtualMachine && holder.isOsDisk === request.isOsDisk) return [];
    if (holder) throw attached(active, `the disk is attached to ${holder.virtualMachine}: detach it there first`);
    refuseUserAccess(active, at);
    refuseChanging(active);
    if (request.isOsDisk && !diskClasses[active.sku].canBootMachine) {
      throw new Rejection('INVALID_ARGUMENT', 'OS_DISK_NOT_SUPPORTED', 'disks of this class can be data disks only', {
        field: 'os_disk',
      });
    }
    return [{ type: 'DiskAttached', ...request, at }];
  };

/** A machine's request to open a disk. */
export interface OpenRequest {
  readonly virtualMachine: string;
  /** Hash of this open's token for an epoch. */
  readonly tokenHashOf: (attachEpoch: number) => string;
  /** The newest open the machine knows of; undefined: the request replaces any open. */
  readonly before: number | undefined;
}

/**
 * The DEK was unwrapped for a machine: it may read and write; an earlier access ends. A repeated open has no effect, so that a
 * late repeat does not end the access that its first response gave.
 */
export const open =
  (
    at: Instant,
    request: OpenRequest,
    opened: Pick<DiskEvent & { type: 'DiskOpened' }, 'attachEpoch' | 'accessEpoch' | 'principal' | 'hostEpoch'>,
  ): Decision =>
  (disk) => {
    const active = openable(at, request)(disk);
    if (isOpenedBy(active, request)) return [];
    if (opened.attachEpoch !== active.attachEpoch + 1) throw changed();
    const { virtualMachine, tokenHashOf } = request;
    const tokenHash = tokenHashOf(opened.attachEpoch);
    return [...endMove(active, at), { type: 'DiskOpened', virtualMachine, ...opened, tokenHash, at }];
  };

const isOpenedBy = ({ access }: ActiveDisk, { tokenHashOf }: OpenRequest): boolean =>
  access?.by === 'machine' && access.tokenHash === tokenHashOf(access.attachEpoch);

/**
 * Checks whether that machine may open the disk, before the vault is called. A request that was overtaken by a newer open of
 * the same machine is refused: it may have been given up long ago.
 * @throws Rejection FAILED_PRECONDITION DISK_NOT_ATTACHED, DISK_IN_ACTIVE_ACCESS, DISK_CHANGING, ATTACH_EPOCH_OUTDATED
 */
export const openable =
  (at: Instant, request: OpenRequest) =>
  (disk: Disk): ActiveDisk => {
    const active = existing(disk);
    const { virtualMachine, before } = request;
    if (active.holder?.virtualMachine !== virtualMachine) {
      throw new Rejection('FAILED_PRECONDITION', 'DISK_NOT_ATTACHED', `the disk is not attached to ${virtualMachine}`, {
        virtual_machine: virtualMachine,
      });
    }
    refuseUserAccess(active, at);
    refuseChanging(active);
    if (before !== undefined && active.attachEpoch > before && !isOpenedBy(active, request)) {
      throw new Rejection(
        'FAILED_PRECONDITION',
        'ATTACH_EPOCH_OUTDATED',
        `the disk was opened again since: the newest open is number ${active.attachEpoch}, and the caller knew of ${before}`,
        { attach_epoch: String(active.attachEpoch) },
      );
    }
    return active;
  };

/**
 * Ends a machine's reads and writes. Does not affect another machine's disk or a newer open. Rules VM-07, CMK-102.
 * @param attachEpoch 0 for any
 */
export const close =
  (at: Instant, virtualMachine: string, isDeallocated: boolean, attachEpoch: number): Decision =>
  (disk) => {
    const { holder, access, attachEpoch: newest } = existing(disk);
    if (holder?.virtualMachine !== virtualMachine || (attachEpoch !== 0 && newest > attachEpoch)) return [];
    const isOpen = access?.by === 'machine';
    if (!isOpen && (!isDeallocated || holder.isDeallocated)) return [];
    return [{ type: 'DiskClosed', virtualMachine, isDeallocated, at }];
  };

const isGivenUp = ({ attachesGivenUp = [] }: ActiveDisk, requestId: string): boolean =>
  attachesGivenUp.includes(requestId);

/**
 * Detaches the disk. Does nothing if it is attached to another machine or to none. Rules VM-07, VM-18.
 * @param requestId the attach request that is given up with it; undefined: any. If it arrives later, because two processes
 *   work on one machine, it has no effect. If it ended long ago, a newer attachment stays
 */
export const detach =
  (at: Instant, virtualMachine: string, requestId?: string): Decision =>
  (disk) => {
    const active = existing(disk);
    const { attachRequests, holder } = active;
    const isHolder = holder?.virtualMachine === virtualMachine;
    const freed: readonly DiskEvent[] = isHolder ? [{ type: 'DiskDetached', virtualMachine, at }] : [];
    if (requestId === undefined || attachRequests.at(-1) === requestId) return freed;
    if (attachRequests.includes(requestId) || isGivenUp(active, requestId)) return [];
    return [...freed, { type: 'AttachGivenUp', virtualMachine, requestId, at }];
  };

/** Checks whether a user may have direct access. @throws Rejection FAILED_PRECONDITION DISK_ATTACHED, DISK_CHANGING */
export const accessible = (disk: Disk): ActiveDisk => {
  const active = existing(disk);
  if (active.holder && !active.holder.isDeallocated) {
    throw attached(active, `${active.holder.virtualMachine} has the disk: deallocate the machine or detach the disk`);
  }
  refuseChanging(active);
  return active;
};

/** The DEK was unwrapped for a user: the new token is valid, and earlier ones are not any more. */
export const beginAccess =
  (
    at: Instant,
    begun: {
      readonly principal: Principal;
      readonly attachEpoch: number;
      readonly level: AccessLevel;
      readonly tokenHash: string;
      readonly expiresAt: Instant;
      readonly accessEpoch: number;
      readonly hostEpoch?: number;
    },
  ): Decision =>
  (disk) => {
    const active = accessible(disk);
    const { access, attachEpoch } = active;
    if (access?.attachEpoch === begun.attachEpoch && access.tokenHash === begun.tokenHash) return [];
    if (begun.attachEpoch !== attachEpoch + 1) throw changed();
    return [...endMove(active, at), { type: 'AccessBegun', ...begun, at }];
  };

/**
 * Ends direct access.
 * @param tokenHash of the access to end, so that a newer one stays; undefined: any
 */
export const endAccess =
  (at: Instant, tokenHash?: string): Decision =>
  (disk) => {
    const { access } = existing(disk);
    const isMeant = access?.by === 'user' && (tokenHash === undefined || access.tokenHash === tokenHash);
    return isMeant ? [{ type: 'AccessEnded', at }] : [];
  };
