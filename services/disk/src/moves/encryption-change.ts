import { type Cause, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import { checkLayers } from '../disk/classes.ts';
import { type Control, commitDisk } from '../disk/control.ts';
import { beginChange, existing, failChange, finishChange, refuseChanging } from '../disk/decider.ts';
import { type Encryption, isLayered, setOf, type VolumeRef } from '../disk/encryption.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { DiskHeader, SetKey } from '../host/disk-host.ts';
import { volumeRefOf, wrapRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { removeFormer } from './former-volume.ts';
import { followDiskHeader } from './header-following.ts';

/** A change as it is announced. */
type Announced = NonNullable<ActiveDisk['changing']>;

/** What a change led to. */
interface Made {
  readonly volume: VolumeRef;
  readonly header: DiskHeader;
  readonly key: SetKey | undefined;
  readonly accessEpoch: number;
}

/**
 * Puts a disk under a set, another set, or back under a platform key. The content stays (CMK-53…57).
 *
 *   begin ──▶ no snapshot shares the DEK, same layers ──▶ DEK wrapped again in the second slot ──▶ finish ──▶ old slot erased
 *       └───▶ else ──▶ full copy under a fresh DEK ──▶ keys checked again ──▶ finish ──▶ old volume removed
 *
 * A DEK is reachable through one customer key only; that is why snapshots force a copy. Until `finish` a failure leaves the disk
 * as it was. A header that is ahead of the events after a crash is the change: it is finished.
 */
export class EncryptionChange {
  readonly #control: Control;

  constructor(control: Control) {
    this.#control = control;
  }

  /** @throws Rejection as ChangeDiskEncryption lists them */
  change(
    name: string,
    encryption: Encryption,
    cause: Cause,
    options: { readonly expected?: number },
  ): Promise<Loaded<Disk>> {
    const { turns, disks } = this.#control;
    return turns(name, async () => {
      await this.reconcile(name, cause);
      // From here on a header that is ahead is this change.
      const { state: before } = await followDiskHeader(this.#control, name, cause);
      checkLayers(before.sku, encryption);
      const changing = await this.#announce(name, encryption, cause, options);
      if (changing) await this.#execute(name, before, changing, cause);
      return disks.load(name);
    });
  }

  /** Finishes or undoes what a crash left of a change; does nothing otherwise. The caller has the disk's turn. */
  async reconcile(name: string, cause: Cause): Promise<void> {
    const { disks, host, clock } = this.#control;
    const { state } = await disks.load(name);
    if (state.status !== 'active') return;
    await removeFormer(this.#control, name, cause);
    if (state.changing === null) return;
    const { volumeId, dekAuthenticator, headerSequence } = state.volume;
    const header = await host.inspect({ ...state, name }, 'make durable');
    if (header.sequence > headerSequence) {
      const volume = volumeRefOf(volumeId, header, dekAuthenticator);
      const made = { volume, header, key: undefined, accessEpoch: state.accessEpoch };
      await this.#finish(name, state.changing, made, cause);
      await host.inspect({ ...state, name, volume }, 'erase previous');
      return;
    }
    const failed = failChange(clock.now(), state.changing.volumeId, 'INTERRUPTED');
    await disks.transact(name, failed, cause, { step: 'encryption' });
    // Also if the record names another volume: then our commit was stored although no response came.
    await removeFormer(this.#control, name, cause);
  }

  /** @returns undefined if the disk has that encryption, or a repeat is in progress */
  async #announce(
    name: string,
    encryption: Encryption,
    cause: Cause,
    options: { readonly expected?: number },
  ): Promise<Announced | undefined> {
    const { disks, clock, random } = this.#control;
    const decide = beginChange(clock.now(), encryption, random.uuid());
    const { events, state } = await disks.transact(name, decide, cause, options).catch((error: unknown) => {
      // The commit may be stored nevertheless.
      if (error instanceof StoreUnavailable) this.#reconcileLater(name, cause);
      throw error;
    });
    const { changing } = existing(state);
    return events.length === 0 || changing === null ? undefined : changing;
  }

  async #execute(name: string, before: ActiveDisk, changing: Announced, cause: Cause): Promise<void> {
    const { log } = this.#control;
    try {
      await this.#refuseIncremental(before.uniqueId);
      const needsCopy =
        isLayered(before.encryption) !== isLayered(changing.encryption) || (await this.#isShared(before));
      if (needsCopy) await this.#copy(name, before, changing, cause);
      else await this.#rewrapInPlace(name, before, changing, cause);
    } catch (error) {
      if (error instanceof StoreUnavailable) this.#reconcileLater(name, cause);
      else {
        // The caller receives the first error.
        await this.reconcile(name, cause).catch((failure: unknown) => {
          log.error('a failed encryption change could not be undone yet', { disk: name, error: failure });
          this.#reconcileLater(name, cause);
        });
      }
      throw error;
    }
  }

  /** Until then the disk cannot be opened. */
  #reconcileLater(name: string, cause: Cause): void {
    this.#control.retries.add(name, () => this.reconcile(name, cause));
  }

  async #rewrapInPlace(name: string, disk: ActiveDisk, changing: Announced, cause: Cause): Promise<void> {
    const target = { encryption: changing.encryption, location: disk.location };
    await this.#control.host.rewrapInPlace({ ...disk, name, changing }, target, cause, (made) =>
      this.#finish(name, changing, made, cause),
    );
  }

  async #copy(name: string, disk: ActiveDisk, changing: Announced, cause: Cause): Promise<void> {
    const { encryption, volumeId } = changing;
    const { location, uniqueId, sizeGib } = disk;
    const source = { ...disk, name };
    const spec = { name, location, uniqueId, volumeId, encryption, sizeBytes: sizeGib * bytesPerGib, source };
    await this.#control.host.make(spec, cause, (made) => this.#finish(name, changing, made, cause));
    await removeFormer(this.#control, name, cause);
  }

  #finish(name: string, { encryption, volumeId: announced }: Announced, made: Made, cause: Cause) {
    const { setKeys, stored, clock } = this.#control;
    const { volume, header, key, accessEpoch } = made;
    const changed = { volume, wrap: wrapRefOf(encryption, header), accessEpoch };
    const guard = key && setKeys.guard(setOf(encryption), key.generation);
    const rows = [stored.put(volume.volumeId, header)];
    return commitDisk(this.#control, name, finishChange(clock.now(), announced, changed), cause, {
      ...{ guard, rows },
      step: 'encryption',
    });
  }

  #snapshotsOf(uniqueId: string) {
    return this.#control.snapshots.listAll({ index: { index: 'source_unique_id', value: uniqueId } });
  }

  async #isShared({ uniqueId, volume }: ActiveDisk): Promise<boolean> {
    const taken = await this.#snapshotsOf(uniqueId);
    return taken.some(
      ({ state }) => state.status === 'creating' || ('volume' in state && state.volume.dekId === volume.dekId),
    );
  }

  async #refuseIncremental(uniqueId: string): Promise<void> {
    const taken = await this.#snapshotsOf(uniqueId);
    if (!taken.some(({ state }) => state.status !== 'absent' && state.incremental)) return;
    throw new Rejection(
      'FAILED_PRECONDITION',
      'DISK_HAS_INCREMENTAL_SNAPSHOTS',
      'Cannot update encryption properties for disk because it already has incremental snapshots: copy it to a new disk instead',
      { field: 'encryption' },
    );
  }
}

/**
 * Refuses at once what would wait for the disk's turn to be refused: an encryption change holds it, for minutes if it copies.
 * @throws Rejection ABORTED DISK_CHANGING
 */
export const refuseWhileChanging = async (
  { disks, turns }: Pick<Control, 'disks' | 'turns'>,
  name: string,
): Promise<void> => {
  if (turns.isFree(name)) return;
  const { state } = await disks.load(name);
  if (state.status === 'active') refuseChanging(state);
};
