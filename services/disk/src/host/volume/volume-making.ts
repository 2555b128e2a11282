import { lossReasonIn } from '@interlock/access';
import { type Cause, CursorConflict, Rejection } from '@interlock/event-store';
import { runAsCall } from '@interlock/rpc';
import type { Random } from '@interlock/runtime';
import { type Encryption, isLayered, setOf, type VolumeRef } from '../../disk/encryption.ts';
import { dekAuthenticator } from '../cipher/dek.ts';
import type { DiskHeader } from '../header/disk-header-format.ts';
import { volumeRefOf } from '../header/header-refs.ts';
import { type DekHolder, firstHeader } from '../keys/deks.ts';
import type { KeyAccess } from '../keys/key-access.ts';
import { keyLost } from '../keys/key-reasons.ts';
import type { KeyGrant } from '../keys/lease.ts';
import type { SetKey, SetKeys } from '../keys/set-keys.ts';
import { writtenRuns } from '../storage/block-store.ts';
import { pieceSize } from '../storage/sector.ts';
import { type CopyEnd, type CopyParts, openCopyEnd } from './copy-end.ts';
import { FollowedKey } from './followed-key.ts';
import { replaceHeader, writeFirstHeader } from './replace-header.ts';

/** A volume to make under a fresh DEK. */
export interface VolumeSpec {
  /** The disk or snapshot, its region, and its UUID, which is part of the wrapped payload. */
  readonly name: string;
  readonly location: string;
  readonly uniqueId: string;
  readonly volumeId: string;
  readonly encryption: Encryption;
  readonly sizeBytes: number;
  /** What to copy; undefined for an empty volume. */
  readonly source: DekHolder | undefined;
}

/** A volume that was made, or whose wrap was replaced, for `commit`. */
export interface MadeVolume {
  readonly header: DiskHeader;
  readonly volume: VolumeRef;
  /** The generation of the set that the commit requires; undefined under a platform key. */
  readonly key: SetKey | undefined;
  readonly accessEpoch: number;
}

/** Records what was made. @throws CursorConflict if a later generation of the set has begun */
export type CommitMade<Result> = (made: MadeVolume) => Promise<Result>;

/**
 * Runs the work after the content of a copy, which may take longer than the call waits: the copy continues then, and its last
 * calls to other services have deadlines of their own.
 */
export const outlastingItsCall = <Result>(work: () => Result): Result => runAsCall(undefined, work);

/** How often a generation may change during a commit. */
const generationsMax = 10;

/** What making volumes needs. */
export interface VolumeMakingParts extends CopyParts {
  readonly keyAccess: CopyParts['keyAccess'] & Pick<KeyAccess, 'lossConcerning'>;
  readonly setKeys: Pick<SetKeys, 'forEncrypting' | 'inForce'>;
  readonly random: Pick<Random, 'uuid'>;
}

/** Makes volumes. */
export class VolumeMaking {
  readonly #parts: VolumeMakingParts;

  constructor(parts: VolumeMakingParts) {
    this.#parts = parts;
  }

  /**
   * Makes a volume with a fresh DEK and commits it under the generation its DEK is wrapped by. If a later generation begins
   * meanwhile, the DEK is wrapped again and committed again (CMK-86). If this throws, the caller removes the volume.
   * @throws Rejection of the set, of key loss, DATA_LOSS; whatever `commit` throws. Rules CMK-12, CMK-13, CMK-110.
   */
  async fresh<Result>(spec: VolumeSpec, cause: Cause, commit: CommitMade<Result>): Promise<Result> {
    const { setKeys, volumes } = this.#parts;
    const { encryption, name, location } = spec;
    const key =
      encryption.type === 'platform' ? undefined : await setKeys.forEncrypting(encryption, { name, location }, cause);
    try {
      return await this.#makeUnder(key, spec, cause, commit);
    } catch (error) {
      if (key === undefined || !(await this.#isOutdated(error, key, setOf(encryption), cause))) throw error;
      // Its only wrap is lost, and its DEK is not in memory.
      await volumes.remove(spec.volumeId);
      return outlastingItsCall(() => this.fresh(spec, cause, commit));
    }
  }

  /**
   * Makes a volume with the ciphertext of another and its wrap, in a header of its own. A loss of their key ends it at once, and
   * the vault has granted the key again when it is made (CMK-110). If this throws, the caller removes the volume.
   * @throws Rejection of key loss, DATA_LOSS
   */
  async shared(source: DekHolder, volumeId: string, cause: Cause): Promise<DiskHeader> {
    const { volumes, headers, deks } = this.#parts;
    const found = await headers.inspect(source);
    const grant = await deks.check(source, found, cause);
    // There is nothing to drop: the DEK stays wrapped.
    const user = { grant: () => grant, drop: () => undefined };
    const followed = new FollowedKey(this.#parts, source, found, user, cause);
    try {
      const check = (): Promise<void> => followed.failIfLost();
      await volumes.copy(source.volume.volumeId, volumeId, isLayered(source.encryption), check);
      const header = await headers.inspect(source);
      const written = await writeFirstHeader(volumes, volumeId, { ...header, sequence: 1 });
      await outlastingItsCall(() => followed.confirm());
      return written;
    } finally {
      await followed.close();
    }
  }

  /**
   * Wraps the DEK of a disk under another set, or under a platform key, in place, and commits it as `fresh` does.
   * @param holder with the announced change
   * @throws Rejection of the set, of key loss, DATA_LOSS; whatever `commit` throws
   */
  async rewrapInPlace<Result>(
    holder: DekHolder,
    { encryption, location }: { readonly encryption: Encryption; readonly location: string },
    cause: Cause,
    commit: CommitMade<Result>,
  ): Promise<Result> {
    const { volumes, headers, deks, setKeys } = this.#parts;
    const { name, volume } = holder;
    const set = setOf(encryption);
    let key =
      encryption.type === 'platform' ? undefined : await setKeys.forEncrypting(encryption, { name, location }, cause);
    let header = await headers.inspect(holder);
    const { dek } = await deks.unwrap(holder, header, cause);
    try {
      for (;;) {
        const owner = { dekId: header.dekId, diskId: header.diskId };
        const { wrap, ref, grant } = await deks.wrap(dek, owner, { name, set, key });
        const change = { wrap, set, generation: ref.generation };
        const inForce = key;
        const replaced = await replaceHeader(volumes, volume.volumeId, header, change, async (next) => {
          const made = volumeRefOf(volume.volumeId, next, volume.dekAuthenticator);
          try {
            const accessEpoch = grant?.accessEpoch ?? 0;
            return { result: await commit({ header: next, volume: made, key: inForce, accessEpoch }) };
          } catch (error) {
            // A later generation has begun: this wrap stays until the next one replaces it.
            if (!(error instanceof CursorConflict)) throw error;
            return undefined;
          }
        });
        if (replaced.committed) return replaced.committed.result;
        header = replaced.header;
        key = await setKeys.inForce(set, cause);
      }
    } finally {
      dek.fill(0);
    }
  }

  /** Makes a volume under one key of the set, or under the next ones if they begin between the content and the commit. */
  async #makeUnder<Result>(
    first: SetKey | undefined,
    spec: VolumeSpec,
    cause: Cause,
    commit: CommitMade<Result>,
  ): Promise<Result> {
    const { volumes, deks, setKeys, random } = this.#parts;
    const { name, volumeId, uniqueId, encryption, sizeBytes, source } = spec;
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
        // A copy takes time; it holds the DEK only while the lease is held.
        dek.fill(0);
        await this.#copyContent(source, holder, cause);
      }
      const wrapUnderNext = async (): Promise<SetKey> => {
        if (source) {
          dek.fill(0);
          ({ dek } = await deks.unwrap(holder, header, cause));
        }
        const next = await setKeys.inForce(set, cause);
        wrapped = await deks.wrap(dek, owner, { name, set, key: next });
        return next;
      };
      for (let attempt = 1; attempt <= generationsMax; attempt++) {
        if (key && wrapped.grant) this.#failIfLost(name, set, key, wrapped.grant);
        try {
          return await commit({ header, volume: volumeNow(), key, accessEpoch: wrapped.grant?.accessEpoch ?? 0 });
        } catch (error) {
          if (!(error instanceof CursorConflict) || key === undefined) throw error;
        }
        key = await (source ? outlastingItsCall(wrapUnderNext) : wrapUnderNext());
        const change = { wrap: wrapped.wrap, generation: wrapped.ref.generation };
        ({ header } = await replaceHeader(volumes, volumeId, header, change, async () => undefined));
      }
    } finally {
      dek.fill(0);
    }
    throw generationOutdated(set);
  }

  /** Copies the content under the leases of both keys. Afterwards the vault has granted both keys again (CMK-110). */
  async #copyContent(source: DekHolder, target: DekHolder, cause: Cause): Promise<void> {
    const from = await openCopyEnd(this.#parts, source, cause);
    try {
      const to = await openCopyEnd(this.#parts, target, cause);
      await outlastingItsCall(() => copyBetween(from, to)).finally(() => to.close());
    } finally {
      await from.close();
    }
  }

  /** @throws the loss of the key, if it arrived after the grant */
  #failIfLost(name: string, set: string, { keyVersion }: SetKey, grant: KeyGrant): void {
    const loss = this.#parts.keyAccess.lossConcerning({ set, keyVersion }, grant);
    if (loss) throw keyLost({ set, keyVersion, resource: name }, loss);
  }

  /**
   * Whether it failed only because of a key that the set has left. An owner may take the earlier key away as soon as all
   * resources have moved, and a volume in the making is no resource yet (CMK-89).
   */
  async #isOutdated(error: unknown, key: SetKey, set: string, cause: Cause): Promise<boolean> {
    if (lossReasonIn(error) === undefined || !(error instanceof Rejection)) return false;
    if (error.metadata.key_version !== key.keyVersion) return false;
    return (await this.#parts.setKeys.inForce(set, cause)).generation > key.generation;
  }
}

/** Reads one end and writes the other; holes and sectors of zeros stay holes. */
const copyBetween = async (from: CopyEnd, to: CopyEnd): Promise<void> => {
  // One buffer for all pieces: allocating a fresh megabyte costs more than reading it.
  const buffer = Buffer.allocUnsafeSlow(pieceSize);
  const intoBuffer = { bytesMax: pieceSize, allocate: (length: number) => buffer.subarray(0, length), isOnce: true };
  try {
    await from.disk.withoutWrites(async () => {
      let offset = 0;
      for await (const piece of from.disk.read(0, from.disk.size(), from.check, intoBuffer)) {
        for (const [start, end] of writtenRuns(piece))
          await to.disk.write(offset + start, piece.subarray(start, end), to.check);
        // Also after a piece without content.
        await to.check();
        offset += piece.length;
      }
    });
  } finally {
    buffer.fill(0);
  }
  await to.disk.flush();
  await Promise.all([from.confirm(), to.confirm()]);
  // While the vault was called about one key, the other may have been lost, or its grant have expired.
  await from.check();
  await to.check();
};

const generationOutdated = (set: string): Rejection =>
  new Rejection('ABORTED', 'GENERATION_OUTDATED', `the key of ${set} keeps changing: try again`, {
    disk_encryption_set: set,
  });
