import { lossReasonIn } from '@interlock/access';
import type { Category, Cause } from '@interlock/event-store';
import { changed } from '../../disk/decider.ts';
import { sameEncryption, setOf } from '../../disk/encryption.ts';
import type { DiskEvent } from '../../disk/events.ts';
import type { Disk } from '../../disk/state.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import type { Headers } from '../header/genuine-headers.ts';
import type { DekHolder, Deks } from '../keys/deks.ts';
import type { KeyAccess, SetKeyVersion } from '../keys/key-access.ts';
import { type KeyUse, keyLost } from '../keys/key-reasons.ts';
import type { LeaseUser } from '../keys/lease-user.ts';
import type { Leases } from '../keys/leases.ts';
import type { Volumes } from './volumes.ts';

/** What following a key needs. */
export interface FollowParts {
  readonly disks: Pick<Category<Disk, DiskEvent>, 'load'>;
  readonly volumes: Pick<Volumes, 'keepHeader'>;
  readonly headers: Pick<Headers, 'current'>;
  readonly deks: Pick<Deks, 'check'>;
  readonly keyAccess: Pick<KeyAccess, 'lossOf'>;
  readonly leases: Pick<Leases, 'join' | 'leave'>;
}

/** The key of a disk or snapshot, for as long as a copy of it or into it is made. */
export interface FollowedKey {
  /** As it was found last. */
  readonly key: SetKeyVersion;
  readonly header: DiskHeader;
  /** For errors. */
  use(): KeyUse;
  /**
   * Looks under which version it is now: a rotation may have taken it to another, and then that one counts, whether the one
   * before can be used or not (CMK-89, G1). @returns whether it has moved since the last look
   * @throws Rejection ABORTED DISK_CHANGED where it has moved to another set, which its own can say nothing about
   */
  catchUp(): Promise<boolean>;
  /** Catches up, and throws why the key is lost, unless it is not. */
  failIfLost(): Promise<void>;
  /**
   * Asks the vault whether the key it is under now can be used: what a copy makes is recorded after such a yes, and not on the
   * word of its beginning, which may be minutes old.
   * @throws Rejection as `Deks.check`
   */
  confirm(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Follows the key of a disk or snapshot: the host asks the vault about it in time, as for an open disk, so that a loss is
 * heard also where no event tells of it. Where it has a key of the platform there is none to lose.
 * @param user.grant as `LeaseUser`: under what yes its DEK is in memory, or its ciphertext is used
 */
export const followKey = (
  { disks, volumes, headers, deks, keyAccess, leases }: FollowParts,
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

  /** A snapshot stays under its set. A disk that leaves its own says so before its header does. */
  const refuseAnotherSet = async (): Promise<void> => {
    const { state } = await disks.load(holder.name);
    if (state.status !== 'active') return;
    if (!sameEncryption(state.changing?.encryption ?? state.encryption, holder.encryption)) throw changed();
  };

  const catchUp = async (): Promise<boolean> => {
    if (!hasKey) return false;
    const now = await headers.current(holder);
    if (now.wrap.keyVersion === key.keyVersion) return false;
    await refuseAnotherSet();
    leases.leave(key, following);
    header = now;
    key = keyIn(now);
    leases.join(key, following);
    return true;
  };

  const throwLoss = (): void => {
    const loss = hasKey ? keyAccess.lossOf(key) : undefined;
    if (loss) throw keyLost(use(), loss);
  };

  const failIfLost = async (): Promise<void> => {
    await catchUp();
    throwLoss();
  };

  // It is looked at around every piece of a copy.
  const release = hasKey ? volumes.keepHeader(volumeId) : async () => undefined;
  if (hasKey) leases.join(key, following);
  return {
    get key() {
      return key;
    },
    get header() {
      return header;
    },
    use,
    catchUp,
    failIfLost,
    async confirm() {
      // An answer about the version it was under is none about the one it is under.
      for (let asked: DiskHeader | undefined; asked !== header; await catchUp()) {
        await failIfLost();
        asked = header;
        try {
          await deks.check(holder, asked, cause);
        } catch (error) {
          if (lossReasonIn(error) === undefined || !(await catchUp())) throw error;
        }
      }
      // The yes may be late, and a loss be heard since it was given.
      throwLoss();
    },
    async close() {
      if (hasKey) leases.leave(key, following);
      await release();
    },
  };
};
