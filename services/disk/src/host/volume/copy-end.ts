import type { Cause } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { isLayered } from '../../disk/encryption.ts';
import { openDiskCipher } from '../cipher/dek.ts';
import type { XtsMask } from '../cipher/xts-mask.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess, Lease } from '../keys/key-access.ts';
import type { KeyUse } from '../keys/key-reasons.ts';
import type { KeyGrant, LeaseTerms } from '../keys/lease.ts';
import type { Leases } from '../keys/leases.ts';
import { type DekUser, regainDek } from '../keys/regain-dek.ts';
import { EncryptedDisk } from '../pieces/encrypted-disk.ts';
import { FollowedKey, type FollowParts } from './followed-key.ts';
import type { Volumes } from './volumes.ts';

/** What opening an end needs. */
export interface CopyParts extends Pick<FollowParts, 'records' | 'headers'> {
  readonly volumes: Volumes;
  readonly deks: Deks;
  readonly keyAccess: Pick<KeyAccess, 'lease' | 'lossOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave' | 'changed'>;
  readonly terms: Pick<LeaseTerms, 'ioPauseTimeoutMs'>;
  readonly clock: Clock;
  readonly mask: XtsMask | undefined;
  /** Aborted when this host stops: nothing waits any longer. */
  readonly signal: AbortSignal;
}

/**
 * Opens a disk or snapshot to be copied, or the target of a copy.
 * @throws Rejection as `Deks.unwrap`
 */
export const openCopyEnd = async (parts: CopyParts, holder: DekHolder, cause: Cause): Promise<CopyEnd> => {
  const { volumes, headers, deks, mask } = parts;
  const header = await headers.inspect(holder);
  const { dek, grant } = await deks.unwrap(holder, header, cause);
  try {
    const volume = await volumes.open(holder.volume.volumeId, isLayered(holder.encryption));
    const disk = new EncryptedDisk(volume, openDiskCipher(dek, mask));
    const held = { grant };
    const drop = (): void => {
      held.grant = undefined;
      disk.dropKey();
    };
    const user = { grant: () => held.grant, drop };
    const followed = new FollowedKey(parts, holder, header, user, cause);
    return new CopyEnd(parts, { holder, cause, disk, held, followed, drop });
  } finally {
    dek.fill(0);
  }
};

/**
 * A source or target of a copy under another DEK. It uses the lease of its key by the rule of an open disk: without the lease the
 * DEK is overwritten and the copy waits, for at most as long as I/O may be paused; a loss ends the copy at once (G1).
 */
export class CopyEnd implements DekUser {
  readonly disk: EncryptedDisk;
  readonly #parts: CopyParts;
  readonly #holder: DekHolder;
  readonly #cause: Cause;
  readonly #held: { grant: KeyGrant | undefined };
  readonly #hasKey: boolean;
  readonly #followed: FollowedKey;
  readonly #drop: () => void;

  constructor(
    parts: CopyParts,
    opened: {
      readonly holder: DekHolder;
      readonly cause: Cause;
      readonly disk: EncryptedDisk;
      /** Without a grant while the DEK is not in memory, and under a platform key. */
      readonly held: { grant: KeyGrant | undefined };
      readonly followed: FollowedKey;
      readonly drop: () => void;
    },
  ) {
    this.disk = opened.disk;
    this.#parts = parts;
    this.#holder = opened.holder;
    this.#cause = opened.cause;
    this.#held = opened.held;
    this.#hasKey = opened.held.grant !== undefined;
    this.#followed = opened.followed;
    this.#drop = opened.drop;
  }

  /** Checks access around each piece, as reads and writes do. @throws a reason of key loss; UNAVAILABLE KEY_VAULT_UNREACHABLE */
  readonly check = async (): Promise<void> => {
    // After a move the DEK was unwrapped under the lease of the previous version, which does not count any more.
    if (await this.#followed.update()) this.#drop();
    if (this.isUsable()) return;
    const { clock, terms, signal } = this.#parts;
    await regainDek(this, this.#parts, { endMs: clock.monotonicMs() + terms.ioPauseTimeoutMs, over: signal });
  };

  /** As `FollowedKey.confirm`. */
  confirm(): Promise<void> {
    return this.#followed.confirm();
  }

  /** Leaves the lease and overwrites the DEK. */
  async close(): Promise<void> {
    await this.#followed.close().finally(() => this.disk.close());
  }

  refuse(): Promise<void> {
    return this.#followed.failIfLost();
  }
  isUsable(): boolean {
    return !this.#hasKey || (this.#held.grant !== undefined && this.lease().isHeld());
  }
  lease(): Lease {
    return this.#parts.keyAccess.lease(this.#followed.key);
  }
  use(): KeyUse {
    return this.#followed.use;
  }
  async fetchDek(): Promise<void> {
    const { deks, mask } = this.#parts;
    const lease = this.lease();
    const { dek, grant } = await deks.unwrap(this.#holder, this.#followed.header, this.#cause, lease.grant());
    try {
      // If the lease ended meanwhile, there was no DEK here to overwrite.
      if (!lease.isHeld()) return;
      this.disk.giveKey(openDiskCipher(dek, mask));
      this.#held.grant = grant;
    } finally {
      dek.fill(0);
    }
  }
}
