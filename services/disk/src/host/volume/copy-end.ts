import { type Cause, Rejection } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import { isLayered } from '../../disk/encryption.ts';
import { openDiskCipher } from '../cipher/dek.ts';
import type { AccessCheck, EncryptedDisk } from '../cipher/encrypted-disk.ts';
import { createEncryptedDisk } from '../cipher/encrypted-disk.ts';
import type { XtsMask } from '../cipher/xts-mask.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess } from '../keys/key-access.ts';
import { vaultUnreachable } from '../keys/key-reasons.ts';
import type { LeaseTerms } from '../keys/lease.ts';
import type { Leases } from '../keys/leases.ts';
import { type FollowedKey, type FollowParts, followKey } from './followed-key.ts';
import type { Volumes } from './volumes.ts';
import type { WriteGate } from './write-gate.ts';

/** What a copy under another DEK reads from, or writes to. */
export interface CopyEnd extends Pick<FollowedKey, 'confirm'> {
  readonly disk: EncryptedDisk;
  readonly gate: WriteGate;
  /** Asked around each piece, as reads and writes ask. */
  readonly check: AccessCheck;
  /** Gives up the lease and overwrites the DEK. */
  close(): Promise<void>;
}

/** Wait after an unwrap that got no answer while the lease is held, in milliseconds. */
const unwrapAgainMs = 200;

/** What opening an end needs. */
export interface CopyParts extends Pick<FollowParts, 'disks' | 'headers'> {
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
 * Opens a disk or snapshot to be copied, or what it is copied to. It uses the lease of its key as an open disk does, and by
 * the same rule: without it the DEK is overwritten and the copy waits, for at most as long as I/O may be paused; a loss ends
 * it at once (G1).
 * @throws Rejection as `Deks.unwrap`; `check` throws a reason of key loss, UNAVAILABLE KEY_VAULT_UNREACHABLE
 */
export const openCopyEnd = async (parts: CopyParts, holder: DekHolder, cause: Cause): Promise<CopyEnd> => {
  const { volumes, headers, deks, keyAccess, leases, terms, clock, mask, signal } = parts;
  const { volumeId } = holder.volume;
  const header = await headers.current(holder);
  const { dek, grant } = await deks.unwrap(holder, header, cause);
  const opened = async () => {
    try {
      const { store, gate } = await volumes.open(volumeId, isLayered(holder.encryption));
      return { gate, disk: createEncryptedDisk(store, openDiskCipher(dek, mask)) };
    } finally {
      // Also where the volume cannot be opened: a cipher that nobody has would keep its copy.
      dek.fill(0);
    }
  };
  const { disk, gate } = await opened();
  let held = grant;
  const user = {
    grant: () => held,
    drop: () => {
      held = undefined;
      disk.dropKey();
    },
  };
  const followed = followKey(parts, holder, header, user, cause);
  const leaseNow = () => keyAccess.lease(followed.key);

  const isUsable = (): boolean => grant === undefined || (held !== undefined && leaseNow().isHeld());

  const fetchDek = async (): Promise<void> => {
    const lease = leaseNow();
    const unwrapped = await deks.unwrap(holder, followed.header, cause, lease.yes());
    try {
      // A lease that ended meanwhile found no DEK here to overwrite.
      if (!lease.isHeld()) return;
      disk.giveKey(openDiskCipher(unwrapped.dek, mask));
      held = unwrapped.grant;
    } finally {
      unwrapped.dek.fill(0);
    }
  };

  const regain = async (): Promise<void> => {
    const endMs = clock.monotonicMs() + terms.ioPauseTimeoutMs;
    for (let failure: unknown; !isUsable(); ) {
      await followed.failIfLost();
      const leftMs = endMs - clock.monotonicMs();
      if (leftMs <= 0 || signal.aborted) {
        throw vaultUnreachable(followed.use(), failure ?? new Error('the lease ended while a copy was made'));
      }
      if (!leaseNow().isHeld()) {
        await leases.changed(followed.key, leftMs, signal);
        continue;
      }
      try {
        await fetchDek();
      } catch (error) {
        if (!(error instanceof Rejection && error.code === 'UNAVAILABLE')) throw error;
        failure = error;
        await clock.sleep(Math.min(leftMs, unwrapAgainMs), signal);
      }
    }
  };

  return {
    disk,
    gate,
    async check() {
      // The DEK was unwrapped under the lease of the version before: that is not what counts any more.
      if (await followed.catchUp()) user.drop();
      if (!isUsable()) await regain();
    },
    confirm: () => followed.confirm(),
    async close() {
      await followed.close().finally(() => disk.close());
    },
  };
};
