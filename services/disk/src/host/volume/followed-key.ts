import { lossReasonIn } from '@interlock/access';
import { type Cause, callingEvent, Rejection } from '@interlock/event-store';
import { sameEncryption, setOf } from '../../disk/encryption.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import { type KeyUse, keyLost } from '../keys/key-reasons.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import type { DiskRecords } from '../records.ts';
import type { Headers } from './authentic-headers.ts';
import type { Volumes } from './volumes.ts';

/** What following a key needs. */
export interface FollowParts {
  readonly records: Pick<DiskRecords, 'holder'>;
  readonly volumes: Pick<Volumes, 'keepHeader'>;
  readonly headers: Pick<Headers, 'inspect'>;
  readonly deks: Pick<Deks, 'check'>;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave'>;
}

/**
 * The key of a disk or snapshot while a copy of it, or into it, is made. The host checks the key with the vault as for an open
 * disk, so that the copy ends at a loss even if no event arrives. Without a customer key there is nothing to lose.
 */
export class FollowedKey {
  readonly #parts: FollowParts;
  readonly #holder: DekHolder;
  readonly #hasKey: boolean;
  readonly #user: LeaseUser;
  readonly #releaseHeader: () => Promise<void>;
  readonly #cause: Cause;
  #header: DiskHeader;

  /**
   * @param header as it was read last
   * @param user.grant as `LeaseUser`: the grant under which its DEK is in memory, or its ciphertext is used
   */
  constructor(
    parts: FollowParts,
    holder: DekHolder,
    header: DiskHeader,
    user: Pick<LeaseUser, 'grant' | 'drop'>,
    cause: Cause,
  ) {
    this.#parts = parts;
    this.#holder = holder;
    this.#header = header;
    this.#cause = cause;
    this.#hasKey = holder.encryption.type !== 'platform';
    this.#user = {
      ...user,
      name: holder.name,
      openedBy: callingEvent(cause),
      isPinnable: false,
      accessEpoch: user.grant()?.accessEpoch ?? 0,
      probe: (terms, probing) => parts.deks.check(holder, this.#header, probing, terms),
    };
    // The header is read around every piece of a copy.
    this.#releaseHeader = this.#hasKey ? parts.volumes.keepHeader(holder.volume.volumeId) : async () => undefined;
    if (this.#hasKey) parts.leases.join(this.key, this.#user);
  }

  get header(): DiskHeader {
    return this.#header;
  }
  get key(): SetKeyVersion {
    return { set: setOf(this.#holder.encryption), keyVersion: this.#header.wrap.keyVersion };
  }
  /** For errors. */
  get use(): KeyUse {
    return { ...this.key, resource: this.#holder.name };
  }

  /**
   * Reads the header again: if a rotation has moved the DEK to another version, only that version counts from now on
   * (CMK-89, G1). @returns whether it has moved
   * @throws Rejection ABORTED DISK_CHANGED if it has moved to another set, whose losses this copy would not notice
   */
  async update(): Promise<boolean> {
    if (!this.#hasKey) return false;
    const { headers, leases } = this.#parts;
    const now = await headers.inspect(this.#holder);
    if (now.wrap.keyVersion === this.key.keyVersion) return false;
    await this.#refuseAnotherSet();
    leases.leave(this.key, this.#user);
    this.#header = now;
    leases.join(this.key, this.#user);
    return true;
  }

  /** Updates, and throws the loss of the key if there is one. */
  async failIfLost(): Promise<void> {
    await this.update();
    this.#throwLoss();
  }

  /**
   * Checks the current key with the vault. A copy is recorded only after such a grant: the grant of its beginning may be minutes
   * old. @throws Rejection as `Deks.check`
   */
  async confirm(): Promise<void> {
    // A reply about a version that the DEK has left does not count.
    for (let checked: DiskHeader | undefined; checked !== this.#header; await this.update()) {
      await this.failIfLost();
      checked = this.#header;
      try {
        await this.#parts.deks.check(this.#holder, checked, this.#cause);
      } catch (error) {
        if (lossReasonIn(error) === undefined || !(await this.update())) throw error;
      }
    }
    // A loss may have arrived after the grant.
    this.#throwLoss();
  }

  async close(): Promise<void> {
    if (this.#hasKey) this.#parts.leases.leave(this.key, this.#user);
    await this.#releaseHeader();
  }

  /** A snapshot stays under its set. A disk records its change of encryption before its header changes. */
  async #refuseAnotherSet(): Promise<void> {
    const now = await this.#parts.records.holder(this.#holder.name);
    if (now && !sameEncryption(now.changing?.encryption ?? now.encryption, this.#holder.encryption)) throw changed();
  }

  #throwLoss(): void {
    const loss = this.#hasKey ? this.#parts.keyAccess.lossOf(this.key) : undefined;
    if (loss) throw keyLost(this.use, loss);
  }
}

const changed = (): Rejection =>
  new Rejection('ABORTED', 'DISK_CHANGED', 'the disk changed while it was copied: read it again and decide again');
