import { lossReasonIn } from '@interlock/access';
import { type Cause, CursorConflict, type Loaded, Rejection } from '@interlock/event-store';
import { type Control, commitSnapshot } from '../disk/control.ts';
import { copyingFrom } from '../disk/copy-source.ts';
import { existing as existingDisk } from '../disk/decider.ts';
import { sameEncryption, setOf, type VolumeRef } from '../disk/encryption.ts';
import type { ActiveDisk } from '../disk/state.ts';
import { refuseMoving } from '../fleet/moving.ts';
import { type DekHolder, type DiskHeader, outlastingItsCall } from '../host/disk-host.ts';
import { volumeRefOf, wrapRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { Attempts } from '../reconcile/attempts.ts';
import { begin, fail, finish, giveUp, type Snapshot } from './decider.ts';
import type { SnapshotEvent, SnapshotSpec } from './events.ts';

type Creating = Extract<Snapshot, { status: 'creating' }>;

/**
 * Creates a snapshot so that a failure leaves nothing behind (CMK-110). Under the disk's own key it has the disk's ciphertext and
 * wrapped DEK, in a header of its own that moves with the key of the set. Under another key it is a full copy under a fresh DEK.
 * Writes to the disk wait meanwhile, so it is the content of one moment.
 */
export class SnapshotCreation {
  readonly #control: Control;
  readonly #attempts: Attempts<Snapshot, SnapshotEvent>;

  constructor(control: Control) {
    this.#control = control;
    this.#attempts = new Attempts(control, control.snapshots, control.ending.snapshots, { giveUp, fail });
  }

  /** @param request in canonical form, so that a repeat is recognized @throws Rejection as CreateSnapshot lists them */
  create(name: string, request: string, spec: Omit<SnapshotSpec, 'uniqueId'>, cause: Cause): Promise<Loaded<Snapshot>> {
    const { clock, hostName } = this.#control;
    return this.#attempts.create(
      name,
      ({ uniqueId, volumeId }) => begin(clock.now(), request, { host: hostName, volumeId }, { ...spec, uniqueId }),
      () => this.#make(name, cause),
      cause,
    );
  }

  /** Undoes what an ended creation left; does nothing otherwise. The caller has the snapshot's turn. */
  undo(name: string, reason: string, cause: Cause): Promise<void> {
    return this.#attempts.undo(name, reason, cause);
  }

  async #make(name: string, cause: Cause): Promise<Loaded<Snapshot>> {
    const { disks, snapshots, host } = this.#control;
    const loaded = await snapshots.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sourceDisk, sourceUniqueId } = state;
    // Read after `begin`: a later encryption change of the disk sees this snapshot and copies.
    const disk = existingDisk((await disks.load(sourceDisk)).state);
    if (disk.changing !== null || disk.uniqueId !== sourceUniqueId) {
      throw new Rejection('ABORTED', 'DISK_CHANGING', `${sourceDisk} is being changed: try again`, {
        disk: sourceDisk,
      });
    }
    refuseMoving(disk);
    const source = { ...disk, name: sourceDisk };
    const spec = { name, location, uniqueId, volumeId, encryption, sizeBytes: disk.sizeGib * bytesPerGib, source };
    return copyingFrom(this.#control, source, () =>
      sameEncryption(encryption, disk.encryption)
        ? this.#share(name, state, disk, cause)
        : host.make(spec, cause, (made) => this.#commit(name, state, made, cause)),
    );
  }

  /** Copies ciphertext and wrap. If the key of the set changes meanwhile, the wrap moves with it. */
  async #share(name: string, creating: Creating, disk: ActiveDisk, cause: Cause): Promise<Loaded<Snapshot>> {
    const { host } = this.#control;
    const { volumeId, sourceDisk } = creating;
    const source = { ...disk, name: sourceDisk };
    let header = await host.copy(source, volumeId, cause);
    for (;;) {
      try {
        const volume = volumeRefOf(volumeId, header, disk.volume.dekAuthenticator);
        return await this.#commit(name, creating, { header, volume }, cause);
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
      }
      const wrap = await outlastingItsCall(() => this.#movedWrap(name, source, header, cause));
      ({ header } = await host.replaceHeader(volumeId, header, wrap, async () => undefined));
    }
  }

  /**
   * The wrap under the key in force. If the vault refuses to move it, the source may have moved already: its wrap is of the same DEK.
   * @throws a reason of key loss; UNAVAILABLE
   */
  async #movedWrap(
    name: string,
    source: DekHolder,
    header: DiskHeader,
    cause: Cause,
  ): Promise<Pick<DiskHeader, 'wrap' | 'generation'>> {
    const { host, setKeys } = this.#control;
    const set = setOf(source.encryption);
    const key = await setKeys.inForce(set, cause);
    const { generation, principal, keyVersion } = key;
    try {
      if (header.wrap.keyVersion === keyVersion) {
        // Only the generation is new, and perhaps the identity of the set.
        await host.checkKey({ set, keyVersion, principal, resource: name }, header.wrap.wrapped);
        return { wrap: header.wrap, generation };
      }
      const { wrap } = await host.rewrap({ ...source, name }, header, key);
      return { wrap, generation };
    } catch (error) {
      if (lossReasonIn(error) === undefined) throw error;
      const moved = await host.inspect(source);
      if (moved.dekId !== header.dekId || moved.generation !== generation) throw error;
      return { wrap: moved.wrap, generation };
    }
  }

  #commit(
    name: string,
    { uniqueId, volumeId, encryption }: Creating,
    { header, volume }: { readonly header: DiskHeader; readonly volume: VolumeRef },
    cause: Cause,
  ) {
    const { setKeys, stored, clock } = this.#control;
    const wrap = wrapRefOf(encryption, header);
    const guard = encryption.type === 'platform' ? undefined : setKeys.guard(encryption.set, wrap.generation);
    const taken = { volume, wrap, sizeGib: header.size / bytesPerGib };
    const rows = [stored.put(volumeId, header)];
    const decide = finish(clock.now(), uniqueId, taken);
    return commitSnapshot(this.#control, name, decide, cause, { guard, rows, step: 'life' });
  }
}
