import { lossReasonIn } from '@interlock/access';
import { type Cause, CursorConflict, Rejection } from '@interlock/event-store';
import { runAsCall } from '@interlock/rpc';
import type { Random } from '@interlock/runtime';
import { type Encryption, isLayered, setOf, type VolumeRef } from '../../disk/encryption.ts';
import { dekAuthenticator } from '../cipher/dek.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import { replaceHeader, volumeRefOf, writeFirstHeader } from '../header/headers.ts';
import { type DekHolder, firstHeader } from '../keys/deks.ts';
import type { KeyAccess } from '../keys/key-access.ts';
import { keyLost } from '../keys/key-reasons.ts';
import type { KeyGrant } from '../keys/lease.ts';
import type { SetKey, SetKeys } from '../keys/set-keys.ts';
import { writtenRuns } from '../storage/block-store.ts';
import { pieceSize } from '../storage/sector.ts';
import { type CopyEnd, type CopyParts, openCopyEnd } from './copy-end.ts';
import { followKey } from './followed-key.ts';

/** Bytes of a GiB. */
export const bytesPerGib = 2 ** 30;

/** A volume to be made under a fresh DEK. */
export interface VolumeWish {
  /** Disk or snapshot it is for, its region, and its UUID, which stands in the wrapped payload. */
  readonly name: string;
  readonly location: string;
  readonly uniqueId: string;
  readonly volumeId: string;
  readonly encryption: Encryption;
  readonly sizeBytes: number;
  /** What to copy; an empty volume without it. */
  readonly source: DekHolder | undefined;
}

/** A volume as `commit` is told of it. */
export interface MadeVolume {
  readonly header: DiskHeader;
  readonly volume: VolumeRef;
  /** Under which generation of the set the commit must happen; undefined under a key of the platform. */
  readonly key: SetKey | undefined;
  readonly accessEpoch: number;
}

/** Makes volumes. */
export interface VolumeMaking {
  /**
   * Makes a volume with a fresh DEK, and commits it under the generation its DEK is wrapped by: when a later one begins
   * meanwhile, the DEK is wrapped anew and committed again (CMK-86). Whoever calls removes the volume when this throws.
   * @param commit throws CursorConflict when its guard fails
   * @throws Rejection of the set, of key loss, DATA_LOSS; whatever `commit` throws. Rules CMK-12, CMK-13, CMK-110.
   */
  fresh<Result>(wish: VolumeWish, cause: Cause, commit: (made: MadeVolume) => Promise<Result>): Promise<Result>;
  /**
   * Makes a volume with the ciphertext of another and its wrap, in a header of its own. A loss of their key ends it at once,
   * and the vault has said yes again when it is made (CMK-110). Whoever calls removes the volume when this throws.
   * @returns the header @throws Rejection of key loss, DATA_LOSS
   */
  shared(source: DekHolder, volumeId: string, cause: Cause): Promise<DiskHeader>;
}

/**
 * Does what comes after the content of a copy, which may take longer than the call that asked for it waits: the copy goes on
 * then, and what the end of it asks others has time of its own.
 */
export const outlastingItsCall = <Result>(work: () => Result): Result => runAsCall(undefined, work);

/** Times a generation may change under a commit before that is no coincidence. */
const generationsMax = 10;

/** Opens it. */
export const openVolumeMaking = (
  parts: CopyParts & {
    readonly keyAccess: Pick<KeyAccess, 'lossConcerning'>;
    readonly setKeys: Pick<SetKeys, 'forEncrypting' | 'inForce'>;
    readonly random: Pick<Random, 'uuid'>;
  },
): VolumeMaking => {
  const { volumes, headers, deks, setKeys, keyAccess, random } = parts;

  /** Reads what one holds and writes it under the other's DEK; holes and sectors of zeros stay holes. */
  const copyBetween = async (from: CopyEnd, to: CopyEnd): Promise<void> => {
    // One for all: a fresh megabyte for each piece would cost more than reading it.
    const buffer = Buffer.allocUnsafeSlow(pieceSize);
    const intoBuffer = { bytesMax: pieceSize, allocate: (length: number) => buffer.subarray(0, length) };
    try {
      await from.gate.still(async () => {
        let offset = 0;
        for await (const piece of from.disk.read(0, from.disk.size(), from.check, intoBuffer)) {
          for (const [start, end] of writtenRuns(piece))
            await to.disk.write(offset + start, piece.subarray(start, end), to.check);
          // Also where nothing of the piece is written.
          await to.check();
          offset += piece.length;
        }
      });
    } finally {
      buffer.fill(0);
    }
    await to.disk.flush();
    await Promise.all([from.confirm(), to.confirm()]);
    // While the vault had not answered about one, the other may have been lost, or its yes have grown old.
    await from.check();
    await to.check();
  };

  /** Copies the content, under the leases of both keys. Once it is done the vault has said yes to both again (CMK-110). */
  const copyContent = async (source: DekHolder, target: DekHolder, cause: Cause): Promise<void> => {
    const from = await openCopyEnd(parts, source, cause);
    try {
      const to = await openCopyEnd(parts, target, cause);
      await outlastingItsCall(() => copyBetween(from, to)).finally(() => to.close());
    } finally {
      await from.close();
    }
  };

  /** Throws why a key is lost that a DEK was wrapped under, if it is: nothing is made after what this host has heard. */
  const failIfLost = (name: string, set: string, { keyVersion }: SetKey, grant: KeyGrant): void => {
    const loss = keyAccess.lossConcerning({ set, keyVersion }, grant);
    if (loss) throw keyLost({ set, keyVersion, resource: name }, loss);
  };

  const keyFor = ({ encryption, name, location }: VolumeWish, cause: Cause): Promise<SetKey> | undefined =>
    encryption.type === 'platform' ? undefined : setKeys.forEncrypting(encryption, { name, location }, cause);

  /** Makes it under one key of the set, or the next ones where they come between the content and the commit. */
  const makeUnder = async <Result>(
    first: SetKey | undefined,
    wish: VolumeWish,
    cause: Cause,
    commit: (made: MadeVolume) => Promise<Result>,
  ): Promise<Result> => {
    const { name, volumeId, uniqueId, encryption, sizeBytes, source } = wish;
    const set = setOf(encryption);
    const owner = { dekId: random.uuid(), diskId: uniqueId };
    let key = first;
    let dek = deks.generate();
    try {
      const authenticator = dekAuthenticator(dek, owner);
      let wrapped = await deks.wrap(dek, owner, { name, set, key });
      await volumes.create(volumeId, sizeBytes, isLayered(encryption));
      let header = await writeFirstHeader(volumes, volumeId, firstHeader(owner, sizeBytes, set, wrapped));
      const volumeNow = (): VolumeRef => volumeRefOf(volumeId, header, authenticator);
      const holder = { name, encryption, volume: volumeNow() };
      if (source) {
        // A copy takes its time, and has the DEK only while the lease is held.
        dek.fill(0);
        await copyContent(source, holder, cause);
      }
      const wrapUnderNext = async (): Promise<SetKey> => {
        if (source) {
          // It may be the one of the key before this.
          dek.fill(0);
          ({ dek } = await deks.unwrap(holder, header, cause));
        }
        const next = await setKeys.inForce(set, cause);
        wrapped = await deks.wrap(dek, owner, { name, set, key: next });
        return next;
      };
      for (let attempt = 1; attempt <= generationsMax; attempt++) {
        if (key && wrapped.grant) failIfLost(name, set, key, wrapped.grant);
        try {
          return await commit({ header, volume: volumeNow(), key, accessEpoch: wrapped.grant?.accessEpoch ?? 0 });
        } catch (error) {
          if (!(error instanceof CursorConflict) || key === undefined) throw error;
        }
        key = await (source ? outlastingItsCall(wrapUnderNext) : wrapUnderNext());
        const { wrap, ref } = wrapped;
        ({ header } = await replaceHeader(
          volumes,
          volumeId,
          header,
          { wrap, generation: ref.generation },
          async () => undefined,
        ));
      }
    } finally {
      dek.fill(0);
    }
    throw new Rejection(
      'ABORTED',
      'GENERATION_OUTDATED',
      `the key of ${set} is being changed all the time: try again`,
      {
        disk_encryption_set: set,
      },
    );
  };

  /**
   * Whether it failed for a key alone that is not the set's any more: who gives a set another key may take the earlier one away
   * as soon as what there is has moved, and what is being made is not there yet (CMK-89).
   */
  const isOutdated = async (error: unknown, key: SetKey, set: string, cause: Cause): Promise<boolean> => {
    if (lossReasonIn(error) === undefined || !(error instanceof Rejection)) return false;
    if (error.metadata.key_version !== key.keyVersion) return false;
    return (await setKeys.inForce(set, cause)).generation > key.generation;
  };

  const making: VolumeMaking = {
    async fresh(wish, cause, commit) {
      const key = await keyFor(wish, cause);
      try {
        return await makeUnder(key, wish, cause, commit);
      } catch (error) {
        if (key === undefined || !(await isOutdated(error, key, setOf(wish.encryption), cause))) throw error;
        // Nothing of it can be used: it has no other wrap, and no DEK in memory.
        await volumes.remove(wish.volumeId);
        return outlastingItsCall(() => making.fresh(wish, cause, commit));
      }
    },
    async shared(source, volumeId, cause) {
      const { volumeId: from } = source.volume;
      const found = await headers.current(source);
      const grant = await deks.check(source, found, cause);
      // Nothing is to be dropped: the DEK stays wrapped.
      const followed = followKey(parts, source, found, { grant: () => grant, drop: () => undefined }, cause);
      try {
        await volumes.copy(from, volumeId, isLayered(source.encryption), () => followed.failIfLost());
        const header = await headers.current(source);
        const written = await writeFirstHeader(volumes, volumeId, { ...header, sequence: 1 });
        await outlastingItsCall(() => followed.confirm());
        return written;
      } finally {
        await followed.close();
      }
    },
  };
  return making;
};
