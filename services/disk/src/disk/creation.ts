import type { Cause, Loaded } from '@interlock/event-store';
import type { DekHolder } from '../host/disk-host.ts';
import { wrapRefOf } from '../host/header/header-refs.ts';
import { bytesPerGib } from '../host/storage/sector.ts';
import { Attempts } from '../reconcile/attempts.ts';
import { type Control, commitDisk } from './control.ts';
import { copyingFrom } from './copy-source.ts';
import { begin, fail, finish, giveUp } from './decider.ts';
import { setOf } from './encryption.ts';
import type { DiskEvent, DiskSpec } from './events.ts';
import type { Disk } from './state.ts';

/**
 * Creates a disk so that a failure leaves nothing behind (CMK-110):
 *
 *   begin ──▶ set, key, wrap ──▶ volume, header, content ──▶ keys checked again ──▶ finish (guarded by the generation)
 *     └── anything fails ──▶ volume removed ──▶ fail: the name is free, the caller receives the reason
 *
 * `begin` is the barrier: from then on the set lists the disk as a user, before the host asks whether the set may be used. What a
 * crash leaves in `creating` is undone when the service starts.
 */
export class DiskCreation {
  readonly #control: Control;
  readonly #attempts: Attempts<Disk, DiskEvent>;

  constructor(control: Control) {
    this.#control = control;
    this.#attempts = new Attempts(control, control.disks, control.ending.disks, { giveUp, fail });
  }

  /**
   * @param request in canonical form, so that a repeat is recognized
   * @returns the disk, also for a repeat @throws Rejection as CreateDisk lists them
   */
  create(
    name: string,
    request: string,
    spec: Omit<DiskSpec, 'uniqueId'>,
    source: DekHolder | undefined,
    cause: Cause,
  ): Promise<Loaded<Disk>> {
    const { clock, hostName } = this.#control;
    return this.#attempts.create(
      name,
      ({ uniqueId, volumeId }) => begin(clock.now(), request, { host: hostName, volumeId }, { ...spec, uniqueId }),
      () => this.#make(name, source, cause),
      cause,
    );
  }

  /** Undoes what an ended creation left; does nothing otherwise. The caller has the disk's turn. */
  undo(name: string, reason: string, cause: Cause): Promise<void> {
    return this.#attempts.undo(name, reason, cause);
  }

  async #make(name: string, source: DekHolder | undefined, cause: Cause): Promise<Loaded<Disk>> {
    const { disks, host, setKeys, stored, clock } = this.#control;
    const loaded = await disks.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sizeGib } = state;
    const spec = { name, location, uniqueId, volumeId, encryption, sizeBytes: sizeGib * bytesPerGib, source };
    const make = (refuseChanged: () => Promise<void>) =>
      host.make(spec, cause, async ({ header, volume, key, accessEpoch }) => {
        await refuseChanged();
        const made = { uniqueId, volume, wrap: wrapRefOf(encryption, header), accessEpoch };
        const guard = key && setKeys.guard(setOf(encryption), key.generation);
        const rows = [stored.put(volumeId, header)];
        return commitDisk(this.#control, name, finish(clock.now(), made), cause, { guard, rows, step: 'life' });
      });
    return source ? copyingFrom(this.#control, source, make) : make(async () => undefined);
  }
}
