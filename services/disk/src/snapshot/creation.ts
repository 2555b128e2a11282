import { lossReasonIn } from '@interlock/access';
import {
  type Category,
  type Cause,
  CursorConflict,
  type EventStore,
  type Loaded,
  Rejection,
} from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { copyingFrom } from '../disk/copy-source.ts';
import { existing as existingDisk } from '../disk/decider.ts';
import { type Encryption, sameEncryption, setOf, type VolumeRef } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Turns } from '../disk/turns.ts';
import type { DiskHeader } from '../host/header/disk-header-format.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import { replaceHeader, volumeRefOf, wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { DekHolder } from '../host/keys/deks.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import type { Vault } from '../host/keys/vault.ts';
import { bytesPerGib, outlastingItsCall, type VolumeMaking } from '../host/volume/volume-making.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import { openAttempts } from '../reconcile/attempts.ts';
import type { Settling } from '../reconcile/settling.ts';
import { begin, fail, finish, type Snapshot } from './decider.ts';
import type { SnapshotEvent, SnapshotSpec } from './events.ts';

/**
 * Takes a snapshot, so that nothing half-made remains (CMK-110). Under the disk's own key it has the same ciphertext and
 * the same wrapped DEK in a header of its own, which moves with the key of the set; under another key it is a full copy
 * under a fresh DEK. The disk's writers wait meanwhile, so it is the content of one moment. What fails is undone as for disks.
 */
export interface SnapshotCreation {
  /** @throws Rejection as CreateSnapshot lists them */
  create(name: string, wish: string, spec: Omit<SnapshotSpec, 'uniqueId'>, cause: Cause): Promise<Loaded<Snapshot>>;
  /** Undoes what is left of a creation that is over; does nothing otherwise. The caller has the snapshot's turn. */
  undo(name: string, reason: string, cause: Cause): Promise<void>;
}

type Creating = Extract<Snapshot, { status: 'creating' }>;

/** Opens it. */
export const openSnapshotCreation = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly volumes: Volumes;
  readonly headers: Pick<Headers, 'current'>;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly making: VolumeMaking;
  readonly vault: Vault;
  readonly setKeys: SetKeys;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): SnapshotCreation => {
  const { store, disks, snapshots, volumes, headers, stored, making, vault, setKeys } = parts;
  const { turns, settling, clock, random, log } = parts;

  const attempts = openAttempts({ kind: snapshots, fail, volumes, turns, settling, clock, random, log });

  const commit = (
    name: string,
    { uniqueId, volumeId, encryption }: Creating,
    { header, volume }: { readonly header: DiskHeader; readonly volume: VolumeRef },
    cause: Cause,
  ) => {
    const wrap = wrapRefOf(encryption, header);
    const guard = encryption.type === 'platform' ? undefined : setKeys.guard(encryption.set, wrap.generation);
    const taken = { volume, wrap, sizeGib: header.size / bytesPerGib };
    const rows = [stored.put(volumeId, header)];
    return transactGuarded(store, snapshots, name, finish(clock.now(), uniqueId, taken), cause, { guard, rows });
  };

  /** A wrap under the key the set has now; by way of the disk where only that has moved before the earlier key was taken away. */
  const movedWrap = async (
    header: DiskHeader,
    of: { readonly name: string; readonly encryption: Encryption; readonly source: DekHolder },
    cause: Cause,
  ): Promise<Pick<DiskHeader, 'wrap' | 'generation'>> => {
    const set = setOf(of.encryption);
    const { principal, keyVersion: target, generation } = await setKeys.inForce(set, cause);
    const question = { set, principal, keyVersion: header.wrap.keyVersion, resource: of.name };
    try {
      if (header.wrap.keyVersion === target) {
        // Only the generation is new, and with it perhaps who asks: the wrap is the one it is to have.
        await vault.check(question, header.wrap.wrapped);
        return { wrap: header.wrap, generation };
      }
      const { wrapped } = await vault.rewrap(question, target, header.wrap.wrapped);
      return { wrap: { ...header.wrap, keyVersion: target, wrapped: Uint8Array.from(wrapped) }, generation };
    } catch (error) {
      if (lossReasonIn(error) === undefined) throw error;
      const source = await headers.current(of.source);
      if (source.dekId !== header.dekId || source.generation !== generation) throw error;
      return { wrap: source.wrap, generation };
    }
  };

  /** Ciphertext and wrap as the disk has them. When the key of the set changes meanwhile, the wrap moves with it. */
  const share = async (name: string, creating: Creating, disk: ActiveDisk, cause: Cause): Promise<Loaded<Snapshot>> => {
    const { volumeId, encryption, sourceDisk } = creating;
    const source = { ...disk, name: sourceDisk };
    let header = await making.shared(source, volumeId, cause);
    for (;;) {
      try {
        const volume = volumeRefOf(volumeId, header, disk.volume.dekAuthenticator);
        return await commit(name, creating, { header, volume }, cause);
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
      }
      const of = { name, encryption, source };
      const wrap = await outlastingItsCall(() => movedWrap(header, of, cause));
      ({ header } = await replaceHeader(volumes, volumeId, header, wrap, async () => undefined));
    }
  };

  const make = async (name: string, cause: Cause): Promise<Loaded<Snapshot>> => {
    const loaded = await snapshots.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sourceDisk, sourceUniqueId } = state;
    // Read after `begin`: a change of the disk's encryption begun later sees this snapshot and copies.
    const disk = existingDisk((await disks.load(sourceDisk)).state);
    if (disk.changing !== null || disk.uniqueId !== sourceUniqueId) {
      throw new Rejection('ABORTED', 'DISK_CHANGING', `${sourceDisk} is being changed: try again`, {
        disk: sourceDisk,
      });
    }
    const source = { ...disk, name: sourceDisk };
    const wish = { name, location, uniqueId, volumeId, encryption, sizeBytes: disk.sizeGib * bytesPerGib, source };
    return copyingFrom(parts, source, () =>
      sameEncryption(encryption, disk.encryption)
        ? share(name, state, disk, cause)
        : making.fresh(wish, cause, (made) => commit(name, state, made, cause)),
    );
  };

  return {
    undo: attempts.undo,
    create: (name, wish, spec, cause) =>
      attempts.create(
        name,
        ({ uniqueId, volumeId }) => begin(clock.now(), wish, volumeId, { ...spec, uniqueId }),
        () => make(name, cause),
        cause,
      ),
  };
};
