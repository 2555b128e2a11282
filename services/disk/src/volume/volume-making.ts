import { type Cause, CursorConflict, Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { writtenRuns } from '../block-store.ts';
import { openDiskCipher } from '../dek.ts';
import type { DiskHeader } from '../disk-header-format.ts';
import { createEncryptedDisk } from '../encrypted-disk.ts';
import { type Encryption, setOf } from '../encryption.ts';
import { type DekHolder, firstHeader } from '../keys/deks.ts';
import type { SetKey, SetKeys } from '../keys/set-keys.ts';
import { type CopyParts, openCopySource } from './copy-source.ts';
import { replaceHeader, writeFirstHeader } from './headers.ts';

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
}

/** Times a generation may change under a commit before that is no coincidence. */
const generationsMax = 10;

/** Opens it. */
export const openVolumeMaking = (
  parts: CopyParts & { readonly setKeys: SetKeys; readonly random: Pick<Random, 'uuid'> },
): VolumeMaking => {
  const { volumes, deks, setKeys, random, mask } = parts;

  /** Reads what the source holds and writes it under the new DEK; holes and sectors of zeros stay holes. */
  const copyContent = async (source: DekHolder, target: { volumeId: string; dek: Uint8Array }, cause: Cause) => {
    const from = await openCopySource(parts, source, cause);
    try {
      const to = await volumes.open(target.volumeId);
      const writing = createEncryptedDisk(to.store, openDiskCipher(target.dek, mask));
      try {
        await from.gate.still(async () => {
          let offset = 0;
          for await (const piece of from.disk.read(0, from.disk.size(), from.check)) {
            for (const [start, end] of writtenRuns(piece))
              await writing.write(offset + start, piece.subarray(start, end), () => undefined);
            offset += piece.length;
          }
        });
        await writing.flush();
      } finally {
        await writing.close();
      }
    } finally {
      await from.close();
    }
  };

  const keyFor = ({ encryption, name, location }: VolumeWish, cause: Cause): Promise<SetKey> | undefined =>
    encryption.type === 'platform' ? undefined : setKeys.forEncrypting(encryption, { name, location }, cause);

  return {
    async fresh(wish, cause, commit) {
      const { name, volumeId, uniqueId, encryption, sizeBytes, source } = wish;
      const set = setOf(encryption);
      const owner = { dekId: random.uuid(), diskId: uniqueId };
      let key = await keyFor(wish, cause);
      const dek = deks.generate();
      try {
        let wrapped = await deks.wrap(dek, owner, { name, set, key });
        await volumes.create(volumeId, sizeBytes, encryption.type === 'double');
        if (source) await copyContent(source, { volumeId, dek }, cause);
        let header = await writeFirstHeader(volumes, volumeId, firstHeader(owner, sizeBytes, dek, wrapped));
        for (let attempt = 1; attempt <= generationsMax; attempt++) {
          try {
            return await commit({ header, key, accessEpoch: wrapped.grant?.accessEpoch ?? 0 });
          } catch (error) {
            if (!(error instanceof CursorConflict) || key === undefined) throw error;
          }
          key = await setKeys.inForce(set, cause);
          wrapped = await deks.wrap(dek, owner, { name, set, key });
          const { wrap, ref } = wrapped;
          ({ header } = await replaceHeader(
            volumes,
            volumeId,
            header.sequence,
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
    },
  };
};
