import type { Cause } from '@interlock/event-store';
import type { DiskHeader } from '../disk-header-format.ts';
import { setOf } from '../encryption.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import { definiteReason, type KeyUse, keyLost } from '../keys/key-reasons.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import { currentHeader } from './headers.ts';
import type { Volumes } from './volumes.ts';

/** What following a key needs. */
export interface FollowParts {
  readonly volumes: Volumes;
  readonly deks: Pick<Deks, 'check'>;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave'>;
}

/** The key of a disk or snapshot, for as long as a copy of it or into it is made. */
export interface FollowedKey {
  readonly key: SetKeyVersion;
  /** As it was found last. */
  readonly header: DiskHeader;
  /** For errors. */
  use(): KeyUse;
  /** Throws why the key is lost, unless it is not. A rotation may have taken the disk to another one: then that counts (CMK-89). */
  failIfLost(): void | Promise<void>;
  /**
   * Asks the vault whether the key can be used now: what a copy makes is recorded after such a yes, and not on the word of
   * its beginning, which may be minutes old.
   * @throws Rejection as `Deks.check`
   */
  confirm(): Promise<void>;
  close(): void;
}

/**
 * Follows the key of a disk or snapshot: the host asks the vault about it in time, as for an open disk, so that a loss is
 * heard also where no event tells of it. Where it has a key of the platform there is none to lose.
 * @param user.grant as `LeaseUser`: under what yes its DEK is in memory, or its ciphertext is used
 */
export const followKey = (
  { volumes, deks, keyAccess, leases }: FollowParts,
  holder: DekHolder,
  found: DiskHeader,
  user: Pick<LeaseUser, 'grant' | 'drop'>,
  cause: Cause,
): FollowedKey => {
  const { volumeId } = holder.volume;
  const keyIn = ({ wrap }: DiskHeader): SetKeyVersion => ({
    set: setOf(holder.encryption),
    keyVersion: wrap.keyVersion,
  });
  const hasKey = holder.encryption.type !== 'platform';
  let header = found;
  let key = keyIn(header);
  const following: LeaseUser = {
    ...user,
    name: holder.name,
    isPinnable: false,
    accessEpoch: user.grant()?.accessEpoch ?? 0,
    probe: (terms, probing) => deks.check(holder, header, probing, terms),
  };
  const use = (): KeyUse => ({ ...key, resource: holder.name });

  /** Whether it is under another version since: then a lost one is not needed any more, and the lease of the other counts. */
  const hasMoved = async (): Promise<boolean> => {
    const now = await currentHeader(volumes, volumeId);
    if (now.wrap.keyVersion === key.keyVersion) return false;
    leases.leave(key, following);
    header = now;
    key = keyIn(now);
    leases.join(key, following);
    return true;
  };

  const failUnlessMoved = async (): Promise<void> => {
    for (;;) {
      const loss = keyAccess.lossOf(key);
      if (!loss) return;
      if (!(await hasMoved())) throw keyLost(use(), loss);
    }
  };

  if (hasKey) leases.join(key, following);
  return {
    get key() {
      return key;
    },
    get header() {
      return header;
    },
    use,
    failIfLost: () => (hasKey && keyAccess.lossOf(key) ? failUnlessMoved() : undefined),
    async confirm() {
      for (let isSure = false; !isSure; ) {
        try {
          await deks.check(holder, header, cause);
          isSure = true;
        } catch (error) {
          if (definiteReason(error) === undefined || !(await hasMoved())) throw error;
        }
      }
      // The yes may be late, and a loss be heard since it was given.
      if (hasKey) await failUnlessMoved();
    },
    close: () => {
      if (hasKey) leases.leave(key, following);
    },
  };
};
