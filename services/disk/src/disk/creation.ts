import {
  type Category,
  type Cause,
  type EventStore,
  type Loaded,
  Rejection,
  StoreUnavailable,
} from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { setOf } from '../encryption.ts';
import { transactGuarded } from '../guarded-commit.ts';
import type { DekHolder } from '../keys/deks.ts';
import type { SetKeys } from '../keys/set-keys.ts';
import type { StandbyUpkeep } from '../standby.ts';
import type { Turns } from '../turns.ts';
import { volumeRefOf, wrapRefOf } from '../volume/headers.ts';
import { bytesPerGib, type VolumeMaking } from '../volume/volume-making.ts';
import type { Volumes } from '../volume/volumes.ts';
import { begin, fail, finish } from './decider.ts';
import type { DiskEvent, DiskSpec } from './events.ts';
import type { Disk } from './state.ts';

/**
 * Makes a disk, so that nothing half-made remains (CMK-110):
 *
 *   begin ──▶ set, key, wrap ──▶ volume, content, header ──▶ finish (guarded by the generation)
 *     └── anything fails ──▶ volume removed ──▶ fail: the name is free, the reason is the caller's
 *
 * `begin` is the barrier: the set shows the disk as a user before it is asked whether it may be used. What a crash leaves
 * in `creating` is undone when the service starts, and before the next attempt under the same name.
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
  /** Undoes what a crash left of a creation; does nothing otherwise. The caller has the disk's turn. */
  undo(name: string, reason: string, cause: Cause): Promise<void>;
}

/** Opens it. */
export const openDiskCreation = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly volumes: Volumes;
  readonly making: VolumeMaking;
  readonly setKeys: SetKeys;
  readonly turns: Turns;
  readonly standby: Pick<StandbyUpkeep, 'kick'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): DiskCreation => {
  const { store, disks, volumes, making, setKeys, turns, standby, clock, random, log } = parts;

  const undo: DiskCreation['undo'] = async (name, reason, cause) => {
    const { state } = await disks.load(name);
    if (state.status !== 'creating') return;
    await volumes.remove(state.volumeId);
    await disks.transact(name, fail(clock.now(), state.uniqueId, reason), cause);
  };

  /** After a store that did not answer, `finish` may still arrive: the name is taken from it before the volume goes. */
  const undoUnsure = async (name: string, volumeId: string, uniqueId: string, cause: Cause): Promise<void> => {
    const { state } = await disks.transact(name, fail(clock.now(), uniqueId, 'STORE_UNAVAILABLE'), cause);
    if (state.status !== 'active') await volumes.remove(volumeId);
  };

  const make = async (name: string, source: DekHolder | undefined, cause: Cause): Promise<Loaded<Disk>> => {
    const loaded = await disks.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sizeGib } = state;
    const wish = { name, location, uniqueId, volumeId, encryption, sizeBytes: sizeGib * bytesPerGib, source };
    try {
      return await making.fresh(wish, cause, async ({ header, key, accessEpoch }) => {
        const made = {
          uniqueId,
          volume: volumeRefOf(volumeId, header),
          wrap: wrapRefOf(encryption, header),
          accessEpoch,
        };
        const guard = key && setKeys.guard(setOf(encryption), key.generation);
        const finished = await transactGuarded(store, disks, name, finish(clock.now(), made), cause, guard);
        standby.kick(setOf(encryption));
        return finished;
      });
    } catch (error) {
      const reason = error instanceof Rejection ? error.reason : 'INTERNAL';
      const undone =
        error instanceof StoreUnavailable ? undoUnsure(name, volumeId, uniqueId, cause) : undo(name, reason, cause);
      // What made the creation fail is what the caller must hear; the leftover is undone by the next attempt or start.
      await undone.catch((failure: unknown) =>
        log.error('a failed creation could not be undone', { disk: name, error: failure }),
      );
      throw error;
    }
  };

  return {
    undo,
    create: (name, wish, spec, source, cause) =>
      turns(name, async () => {
        const uniqueId = random.uuid();
        const { events } = await disks.transact(
          name,
          begin(clock.now(), wish, random.uuid(), { ...spec, uniqueId }),
          cause,
        );
        if (events.length > 0) return make(name, source, cause);
        const found = await disks.load(name);
        if (found.state.status === 'active') return found;
        // Nobody else makes it, for this is its turn: an earlier attempt ended without being undone.
        await undo(name, 'INTERRUPTED', cause);
        await disks.transact(name, begin(clock.now(), wish, random.uuid(), { ...spec, uniqueId }), cause);
        return make(name, source, cause);
      }),
  };
};
