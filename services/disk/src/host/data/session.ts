import { Rejection } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import type { Instant } from '@interlock/runtime';
import type { EncryptedDisk } from '../cipher/encrypted-disk.ts';
import type { KeyAccess, Lease } from '../keys/key-access.ts';
import { keyLost } from '../keys/key-reasons.ts';
import type { KeyGrant } from '../keys/lease.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Ownership } from '../ownership.ts';
import type { WriteGate } from '../volume/write-gate.ts';

/** One open of a disk: what a token gives access to. Kept in memory; the events know enough to make it again. */
export interface Session {
  readonly name: string;
  readonly attachEpoch: number;
  readonly tokenHash: string;
  readonly level: 'read' | 'write';
  /** Who began direct access, and has to be allowed to as long as it lasts; undefined for a machine. */
  readonly holder: Principal | undefined;
  /** When direct access ends by itself; undefined for a machine. */
  readonly expiresAt: Instant | undefined;
  /** A running machine keeps its DEK of such a disk through a loss (CMK-102), as long as this process has it. */
  readonly isPinnable: boolean;
  readonly disk: EncryptedDisk;
  readonly gate: WriteGate;
  /** Writes that have begun, once there was one: a newer open waits for them, or it could lose what it wrote to an older one. */
  writes: Set<Promise<unknown>> | undefined;
  /** What the disk is to its lease. */
  readonly user: LeaseUser;
  /** The lease of the key version the DEK is under; undefined under a key of the platform. */
  lease: Lease | undefined;
  /**
   * The lease of the version the DEK was under, while it lasts and the one of its new version is not won: a disk moves to
   * another version without a pause also while the vault is silent (G6). It is not renewed.
   */
  bridge: { isHeld(): boolean } | undefined;
  /** Undefined while the DEK is not in memory. */
  held: { readonly grant: KeyGrant | undefined } | undefined;
  /** Reads and writes under way. */
  streams: number;
  isEnded: boolean;
  /** Stops the wait for its expiry, and paused reads and writes. */
  readonly ending: SessionEnding;
  /** The DEK being fetched: one question, however many reads wait for it. */
  fetching: Promise<void> | undefined;
}

/** The end of a session. Its signal is made for whoever waits for it: most sessions end without that anybody does. */
export class SessionEnding {
  #controller: AbortController | undefined;
  #isOver = false;

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isOver) this.#controller.abort(accessEnded);
    return this.#controller.signal;
  }

  end(): void {
    this.#isOver = true;
    this.#controller?.abort(accessEnded);
  }
}

/** Why waiting ended. Without a reason of ours each signal would be given an error with a stack of its own. */
const accessEnded = 'the access has ended';

/** Whether the session goes on without a lease, because its machine has an ultra disk. */
export const isPinned = ({ isPinnable, lease, held }: Session): boolean =>
  isPinnable && held !== undefined && lease !== undefined && !lease.isHeld();

/** What checks of a session ask. */
export interface PieceGate {
  /** Whether this host still owns the volume. */
  readonly ownership: Pick<Ownership, 'isHeld'>;
  readonly keyAccess: Pick<KeyAccess, 'lossAfter'>;
  now(): Instant;
  /** Waits for the leases and gets the DEK where it is not in memory: after a restart, or when access has returned. */
  regain(session: Session): Promise<void>;
}

/**
 * Asked before each piece of I/O, and again before it is acknowledged. Costs a few comparisons while the lease is held
 * and the DEK is in memory; without them, and without the lease of the host, it waits, for no longer than I/O may be paused.
 * @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED, DISK_HOST_REPLACED; a reason of key loss; UNAVAILABLE. Rules G1,
 *   CMK-100, CMK-105.
 */
export const checkPiece = (session: Session, gate: PieceGate): void | Promise<void> => {
  refuseEnded(session, gate.now());
  const mayUse = mayUseDek(session);
  if (gate.ownership.isHeld() && mayUse) return;
  // A pinned disk outlives the loss of its key, and only waits for the lease of its host (CMK-102).
  if (!mayUse) refuseLost(session, gate.keyAccess);
  return gate.regain(session);
};

/** Whether the DEK is in memory and may be used now. */
export const mayUseDek = ({ held, lease, bridge, isPinnable }: Session): boolean =>
  held !== undefined && (lease === undefined || isPinnable || lease.isHeld() || bridge?.isHeld() === true);

/** @throws Rejection a reason of key loss */
export const refuseLost = ({ lease, name, user }: Session, keyAccess: Pick<KeyAccess, 'lossAfter'>): void => {
  const loss = lease && keyAccess.lossAfter(lease.key, user.accessEpoch);
  if (loss) throw keyLost({ ...lease.key, resource: name }, loss);
};

/** @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED */
export const refuseEnded = (session: Session, at: Instant): void => {
  if (!session.isEnded && (session.expiresAt === undefined || session.expiresAt > at)) return;
  throw outdated(session.name, session.attachEpoch);
};

/** The refusal of a token whose time is over. */
export const outdated = (name: string, attachEpoch: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'ATTACH_EPOCH_OUTDATED',
    `access ${attachEpoch} to ${name} has ended: open the disk again`,
    { disk: name, attach_epoch: String(attachEpoch) },
  );
