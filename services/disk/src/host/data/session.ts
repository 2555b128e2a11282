import type { Grant } from '@interlock/access';
import { Rejection } from '@interlock/event-store';
import type { Principal } from '@interlock/rpc';
import { type Clock, currentTraceparent, type Instant } from '@interlock/runtime';
import { isLayered } from '../../disk/encryption.ts';
import type { SectorCipher } from '../cipher/xts.ts';
import type { OpenDek } from '../keys/deks.ts';
import type { KeyAccess, Lease, SetKeyVersion } from '../keys/key-access.ts';
import { keyLost } from '../keys/key-reasons.ts';
import type { KeyGrant } from '../keys/lease.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import type { ThreadGate } from '../keys/thread-gate.ts';
import type { Ownership } from '../owner/ownership.ts';
import type { EncryptedDisk } from '../pieces/encrypted-disk.ts';
import type { DiskRecord, GrantedAccess } from '../records.ts';

/** What all sessions of a host share. */
export interface SessionParts {
  readonly keyAccess: Pick<KeyAccess, 'lease' | 'lossAfter' | 'lossConcerning' | 'termOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave'>;
  readonly clock: Pick<Clock, 'sleep'>;
  /** Opens the cipher of a disk. The caller clears `dek`. */
  readonly openCipher: (dek: Uint8Array, disk: string) => SectorCipher;
  /** Lets another thread use the DEK of a disk; undefined if no thread does. */
  readonly openThreadGate?: ((dek: Uint8Array) => ThreadGate) | undefined;
  /** `Ownership.intactSince`. */
  readonly intactSince: number;
  /** Checks with the vault whether the DEK of a disk could be unwrapped now. */
  readonly probe: (disk: string, ...args: Parameters<LeaseUser['probe']>) => Promise<unknown>;
}

/**
 * One open of a disk: what an access token gives access to. It exists in memory only; the records suffice to make it again.
 * A class, like everything that exists once per open disk (see `FileBlockStore`).
 */
export class Session implements LeaseUser {
  readonly name: string;
  readonly access: GrantedAccess;
  /** The grant of the open, as the store has it. */
  readonly opened: Grant;
  readonly accessEpoch: number;
  readonly openedBy: string | undefined;
  /** Trace context of the open, for links of its reads and writes; undefined after a restart of the host. */
  readonly openedIn = currentTraceparent();
  /** A running machine keeps its DEK of such a disk during an access loss, as long as this process has it (CMK-102). */
  readonly isPinnable: boolean;
  readonly volumeId: string;
  /** Whether the volume has a lower layer of encryption. */
  readonly isLayered: boolean;
  readonly disk: EncryptedDisk;
  readonly ending = new SessionEnding();
  /** Writes in progress; created by the first write. A newer open waits for them, or an older write could overwrite its own. */
  writes: Set<Promise<unknown>> | undefined;
  /** Reads and writes in progress. */
  streams = 0;
  isEnded = false;
  /** What its reads and writes are refused with once it has ended; undefined: that a newer access ended it. */
  refusal: Rejection | undefined;
  /** Connections that use it as a network block device. */
  blockDevices = 0;
  /** The unwrap in progress, shared by all reads and writes that wait for the DEK. */
  fetching: Promise<void> | undefined;
  /** The lease of the DEK's key version; undefined under a platform key. */
  lease: Lease | undefined;
  /**
   * The rest of the last grant of the previous key version, until the lease of the new version is held. It is not renewed. So a
   * disk moves to another version without a pause even if the vault is unreachable (G6).
   */
  #previousTerm: { isHeld(): boolean; leftMs(): number } | undefined;
  /** Undefined while the DEK is not in memory. */
  #held: { readonly grant: KeyGrant | undefined } | undefined;
  readonly #parts: SessionParts;

  constructor(record: DiskRecord & { readonly access: GrantedAccess }, disk: EncryptedDisk, parts: SessionParts) {
    this.name = record.holder.name;
    this.access = record.access;
    this.opened = record.grant;
    this.accessEpoch = record.grant.accessEpoch;
    this.openedBy = record.openedBy;
    this.isPinnable = record.access.by === 'machine' && record.outlivesKeyLoss;
    this.volumeId = record.holder.volume.volumeId;
    this.isLayered = isLayered(record.holder.encryption);
    this.disk = disk;
    this.#parts = parts;
  }

  /** The principal of a direct access; undefined for a machine. */
  get principal(): Principal | undefined {
    return this.access.by === 'user' ? this.access.principal : undefined;
  }
  get level(): 'read' | 'write' {
    return this.access.by === 'user' ? this.access.level : 'write';
  }
  get expiresAt(): Instant | undefined {
    return this.access.by === 'user' ? this.access.expiresAt : undefined;
  }
  /** Whether acknowledged writes of this open that were not flushed may be lost: the machine of its host crashed since. */
  get mayLackWrites(): boolean {
    const { hostEpoch = 0 } = this.access;
    return this.level === 'write' && hostEpoch < this.#parts.intactSince;
  }
  get hasDek(): boolean {
    return this.#held !== undefined;
  }
  /** Whether a running machine uses the disk although the lease is not held. */
  get isPinned(): boolean {
    return this.isPinnable && this.hasDek && this.lease !== undefined && !this.lease.isHeld();
  }

  grant(): KeyGrant | undefined {
    return this.#held?.grant;
  }
  probe(...args: Parameters<LeaseUser['probe']>): Promise<unknown> {
    return this.#parts.probe(this.name, ...args);
  }

  /** Whether the DEK is in memory and may be used now. */
  mayUseDek(): boolean {
    const { lease, isPinnable } = this;
    return (
      this.hasDek && (lease === undefined || isPinnable || lease.isHeld() || this.#previousTerm?.isHeld() === true)
    );
  }

  /** For how long the DEK may be used from now on, in milliseconds; 0 or less: not now. */
  dekLeftMs(): number {
    if (!this.mayUseDek()) return 0;
    if (this.lease === undefined || this.isPinnable) return Number.POSITIVE_INFINITY;
    return Math.max(this.lease.leftMs(), this.#previousTerm?.leftMs() ?? 0);
  }

  /** Why an open disk stays at this host, in words; undefined: it may move. */
  get whyItStays(): string | undefined {
    if (this.blockDevices > 0) return 'it is used as a network block device';
    return this.mayLackWrites ? 'the machine of its host has lost writes of this open' : undefined;
  }

  /** @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED, DISK_NOT_HERE */
  refuseEnded(at: Instant): void {
    if (!this.isEnded && (this.expiresAt === undefined || this.expiresAt > at)) return;
    throw this.refusal ?? outdated(this.name, this.access.attachEpoch);
  }

  /** @throws Rejection a reason of key loss */
  refuseLost(): void {
    const { lease, name, opened } = this;
    const loss = lease && this.#parts.keyAccess.lossAfter(lease.key, opened);
    if (loss) throw keyLost({ ...lease.key, resource: name }, loss);
  }

  /** Puts a DEK that was just unwrapped into use, and clears `opened.dek`. */
  giveDek({ dek, grant }: OpenDek): void {
    const threadGate = this.isLayered ? undefined : this.#parts.openThreadGate?.(dek);
    this.disk.giveKey(this.#parts.openCipher(dek, this.name), threadGate);
    dek.fill(0);
    this.#held = { grant };
    // A loss or the end of the lease may have arrived after the grant, when there was no DEK here to drop.
    if (this.#isLost(grant)) this.#dropDek();
    else this.#dropUnusable();
  }

  /** Overwrites the DEK: always after a loss; after the end of the lease only if nothing else allows its use. */
  drop(why: 'lost' | 'ended'): void {
    if (why === 'lost') this.#dropDek();
    else this.#dropUnusable();
  }

  /** Uses the lease of another key version from now on. */
  moveTo(key: SetKeyVersion): void {
    const { keyAccess, leases } = this.#parts;
    const before = this.lease;
    this.lease = keyAccess.lease(key);
    leases.join(key, this);
    if (before && before !== this.lease) leases.leave(before.key, this);
  }

  /**
   * The DEK moved to another key version; its value, and so I/O, stay (CMK-15, CMK-82). If the lease of the new version is not
   * held, the last grant of the previous version counts for the rest of its time (G6).
   */
  async rewrapped(key: SetKeyVersion): Promise<void> {
    const { keyAccess, clock } = this.#parts;
    const before = this.lease;
    if (!before || before === keyAccess.lease(key)) return;
    this.moveTo(key);
    const { lease } = this;
    if (!lease || !this.#held) return;
    const previous = before.grant();
    const last = this.#held.grant ?? previous;
    // A grant of one version says nothing about another version: every loss of the new version concerns this DEK.
    const grant = lease.isHeld() ? lease.grant() : last && { ...last, accessEpoch: 0 };
    this.#held = { grant };
    if (this.#isLost(grant)) return this.#dropDek();
    if (lease.isHeld() || !previous) return this.#dropUnusable();

    const term = keyAccess.termOf(previous);
    this.#previousTerm = term;
    this.#dropUnusable();
    while (this.#previousTerm === term && term.isHeld()) await clock.sleep(term.leftMs(), this.ending.signal);
    if (this.#previousTerm !== term) return;
    this.#previousTerm = undefined;
    this.#dropUnusable();
  }

  /** Ends the session: the DEK is overwritten when this returns. Writes in progress may still fail. */
  end(): void {
    this.isEnded = true;
    this.ending.end();
    if (this.lease) this.#parts.leases.leave(this.lease.key, this);
    this.#dropDek();
  }

  #isLost(grant: KeyGrant | undefined): boolean {
    const { lease, isPinnable } = this;
    if (!lease || !grant || isPinnable) return false;
    return this.#parts.keyAccess.lossConcerning(lease.key, grant) !== undefined;
  }
  #dropDek(): void {
    this.#held = undefined;
    this.#previousTerm = undefined;
    this.disk.dropKey();
  }
  #dropUnusable(): void {
    if (this.hasDek && !this.mayUseDek()) this.#dropDek();
  }
}

/** The end of a session. The signal is created on first use: most sessions end without a waiter. */
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

/** A constant reason: otherwise each abort would create an error with a stack. */
const accessEnded = 'the access has ended';

/** What a check of a session needs. */
export interface PieceGate {
  /** Whether this host owns the volume. */
  readonly ownership: Pick<Ownership, 'isHeld'>;
  now(): Instant;
  /** Waits for the leases, and unwraps the DEK if it is not in memory: after a restart, or when access was restored. */
  regain(session: Session): Promise<void>;
}

/**
 * Checks access before and after each piece of I/O. It costs a few comparisons while the lease is held and the DEK is in memory.
 * Otherwise it waits, for at most as long as I/O may be paused.
 * @throws Rejection FAILED_PRECONDITION ATTACH_EPOCH_OUTDATED, DISK_HOST_REPLACED; a reason of key loss; UNAVAILABLE. Rules G1,
 *   CMK-100, CMK-105.
 */
export const checkPiece = (session: Session, gate: PieceGate): void | Promise<void> => {
  session.refuseEnded(gate.now());
  const mayUse = session.mayUseDek();
  if (gate.ownership.isHeld() && mayUse) return;
  // A pinned disk continues after the loss of its key and waits only for the lease of its host (CMK-102).
  if (!mayUse) session.refuseLost();
  return gate.regain(session);
};

/** The refusal of a token of an earlier access. */
export const outdated = (name: string, attachEpoch: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'ATTACH_EPOCH_OUTDATED',
    `access ${attachEpoch} to ${name} has ended: open the disk again`,
    { disk: name, attach_epoch: String(attachEpoch) },
  );
