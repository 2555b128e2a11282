import type { Category, Cause, EventStore, Loaded } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { DekHolder } from '../host/keys/deks.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import { bytesPerGib, type VolumeMaking } from '../host/volume/volume-making.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import { openAttempts } from '../reconcile/attempts.ts';
import type { Settling } from '../reconcile/settling.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import { copyingFrom } from './copy-source.ts';
import { begin, fail, finish } from './decider.ts';
import { setOf } from './encryption.ts';
import type { DiskEvent, DiskSpec } from './events.ts';
import { transactGuarded } from './guarded-commit.ts';
import type { Disk } from './state.ts';
import type { Turns } from './turns.ts';

/**
 * Makes a disk, so that nothing half-made remains (CMK-110):
 *
 *   begin ──▶ set, key, wrap ──▶ volume, header, content ──▶ keys asked again ──▶ finish (guarded by the generation)
 *     └── anything fails ──▶ volume removed ──▶ fail: the name is free, the reason is the caller's
 *
 * `begin` is the barrier: the set shows the disk as a user before it is asked whether it may be used. What cannot be undone
 * at once, because the store or the volumes are away, is undone as soon as they are back, and before the next attempt under
 * the same name or its deletion; what a crash leaves in `creating`, when the service starts.
 */
export interface DiskCreation {
  /** @returns the disk, also for a repeat. @throws Rejection as CreateDisk lists them */
  create(
    name: string,
    wish: string,
    spec: Omit<DiskSpec, 'uniqueId'>,
    source: DekHolder | undefined,
    cause: Cause,
  ): Promise<Loaded<Disk>>;
  /** Undoes what is left of a creation that is over; does nothing otherwise. The caller has the disk's turn. */
  undo(name: string, reason: string, cause: Cause): Promise<void>;
}

/** Opens it. */
export const openDiskCreation = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly volumes: Volumes;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly making: VolumeMaking;
  readonly setKeys: SetKeys;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): DiskCreation => {
  const { store, disks, volumes, stored, making, setKeys, turns, settling, clock, random, log } = parts;

  const attempts = openAttempts({ kind: disks, fail, volumes, turns, settling, clock, random, log });

  const make = async (name: string, source: DekHolder | undefined, cause: Cause): Promise<Loaded<Disk>> => {
    const loaded = await disks.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sizeGib } = state;
    const wish = { name, location, uniqueId, volumeId, encryption, sizeBytes: sizeGib * bytesPerGib, source };
    const fresh = (refuseChanged: () => Promise<void>) =>
      making.fresh(wish, cause, async ({ header, volume, key, accessEpoch }) => {
        await refuseChanged();
        const made = {
          uniqueId,
          volume,
          wrap: wrapRefOf(encryption, header),
          accessEpoch,
        };
        const guard = key && setKeys.guard(setOf(encryption), key.generation);
        const rows = [stored.put(volumeId, header)];
        return transactGuarded(store, disks, name, finish(clock.now(), made), cause, { guard, rows });
      });
    return source ? copyingFrom(parts, source, fresh) : fresh(async () => undefined);
  };

  return {
    undo: attempts.undo,
    create: (name, wish, spec, source, cause) =>
      attempts.create(
        name,
        ({ uniqueId, volumeId }) => begin(clock.now(), wish, volumeId, { ...spec, uniqueId }),
        () => make(name, source, cause),
        cause,
      ),
  };
};
