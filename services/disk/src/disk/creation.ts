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
import type { Settling } from '../settling.ts';
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

/** What an attempt gives its disk, and may leave behind. */
type Made = Pick<Extract<Disk, { status: 'creating' }>, 'uniqueId' | 'volumeId'>;

/** Opens it. */
export const openDiskCreation = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly volumes: Volumes;
  readonly making: VolumeMaking;
  readonly setKeys: SetKeys;
  readonly turns: Turns;
  readonly settling: Settling;
  readonly standby: Pick<StandbyUpkeep, 'kick'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): DiskCreation => {
  const { store, disks, volumes, making, setKeys, turns, settling, standby, clock, random, log } = parts;

  const undo: DiskCreation['undo'] = async (name, reason, cause) => {
    const { state } = await disks.load(name);
    if (state.status !== 'creating') return;
    await volumes.remove(state.volumeId);
    await disks.transact(name, fail(clock.now(), state.uniqueId, reason), cause);
  };

  /** After a store that did not answer, `finish` may still arrive: the name is taken from it before the volume goes. */
  const undoUnsure = async (name: string, { volumeId, uniqueId }: Made, cause: Cause): Promise<void> => {
    const { state } = await disks.transact(name, fail(clock.now(), uniqueId, 'STORE_UNAVAILABLE'), cause);
    const isFinished = state.status === 'active' && state.uniqueId === uniqueId;
    if (!isFinished) await volumes.remove(volumeId);
    else standby.kick(setOf(state.encryption));
  };

  /** What made the creation fail is what the caller must hear; a leftover that stays for now is undone later. */
  const undoAfter = async (error: unknown, name: string, made: Made, cause: Cause): Promise<void> => {
    const reason = error instanceof Rejection ? error.reason : 'INTERNAL';
    const undone = () =>
      error instanceof StoreUnavailable ? undoUnsure(name, made, cause) : undo(name, reason, cause);
    await undone().catch((failure: unknown) => {
      log.error('a failed creation could not be undone yet', { disk: name, error: failure });
      settling.later(name, undone);
    });
  };

  const make = async (name: string, source: DekHolder | undefined, cause: Cause): Promise<Loaded<Disk>> => {
    const loaded = await disks.load(name);
    const { state } = loaded;
    if (state.status !== 'creating') return loaded;
    const { uniqueId, volumeId, encryption, location, sizeGib } = state;
    const wish = { name, location, uniqueId, volumeId, encryption, sizeBytes: sizeGib * bytesPerGib, source };
    return making.fresh(wish, cause, async ({ header, key, accessEpoch }) => {
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
  };

  return {
    undo,
    create: (name, wish, spec, source, cause) =>
      turns(name, async () => {
        const made = { uniqueId: random.uuid(), volumeId: random.uuid() };
        const beginning = begin(clock.now(), wish, made.volumeId, { ...spec, uniqueId: made.uniqueId });
        try {
          const { events } = await disks.transact(name, beginning, cause);
          if (events.length === 0) {
            const found = await disks.load(name);
            if (found.state.status === 'active') return found;
            // Nobody else makes it, for this is its turn: an earlier attempt ended without being undone.
            await undo(name, 'INTERRUPTED', cause);
            await disks.transact(name, beginning, cause);
          }
        } catch (error) {
          // Not answered, and stored perhaps.
          if (error instanceof StoreUnavailable) settling.later(name, () => undoUnsure(name, made, cause));
          throw error;
        }
        try {
          return await make(name, source, cause);
        } catch (error) {
          await undoAfter(error, name, made, cause);
          throw error;
        }
      }),
  };
};
