import {
  type Category,
  type Cause,
  CursorConflict,
  type EventStore,
  type Loaded,
  Rejection,
  StoreUnavailable,
} from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { checkLayers } from '../disk/classes.ts';
import { beginChange, existing, failChange, finishChange, noteFormerRemoved, refuseChanging } from '../disk/decider.ts';
import { type Encryption, isLayered, setOf, type VolumeRef } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Turns } from '../disk/turns.ts';
import type { DiskHeader } from '../host/header/disk-header-format.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import { replaceHeader, volumeRefOf, wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { Deks } from '../host/keys/deks.ts';
import type { SetKey, SetKeys } from '../host/keys/set-keys.ts';
import { bytesPerGib, type VolumeMaking } from '../host/volume/volume-making.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { Settling } from '../reconcile/settling.ts';
import type { Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { CatchUp } from './catching-up.ts';

/**
 * Puts a disk under a set, another set, or back under the key of the platform. The content stays (CMK-53…57).
 *
 *   begin ──▶ no snapshot shares the DEK, same layers ──▶ DEK wrapped anew in the second slot ──▶ finish ──▶ old slot erased
 *       └───▶ else ──▶ full copy under a fresh DEK ──▶ keys asked again ──▶ finish ──▶ old volume removed
 *
 * A DEK is reachable through one customer key only; that is why snapshots force the copy. Until `finish` a failure leaves
 * the disk as it was. A header that is ahead of the events after a crash is the change: it is finished. What a store that
 * did not answer left open is settled as soon as it does.
 */
export interface EncryptionChange {
  /** @throws Rejection as ChangeDiskEncryption lists them */
  change(
    name: string,
    encryption: Encryption,
    cause: Cause,
    options: { readonly expected?: number },
  ): Promise<Loaded<Disk>>;
  /** Finishes or undoes what a crash left of a change; does nothing otherwise. The caller has the disk's turn. */
  settle(name: string, cause: Cause): Promise<void>;
}

/** A change as it is announced. */
type Announced = NonNullable<ActiveDisk['changing']>;

/**
 * Refuses at once what waits for the disk's turn to be refused then: a change of encryption has it, for minutes where it copies.
 * @throws Rejection ABORTED DISK_CHANGING
 */
export const refuseWhileChanging = async (
  { disks, turns }: { readonly disks: Category<Disk, DiskEvent>; readonly turns: Turns },
  name: string,
): Promise<void> => {
  if (turns.isFree(name)) return;
  const { state } = await disks.load(name);
  if (state.status === 'active') refuseChanging(state);
};

/** Opens it. */
export const openEncryptionChange = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly volumes: Volumes;
  readonly headers: Headers;
  readonly stored: StoredHeaders;
  readonly making: VolumeMaking;
  readonly deks: Deks;
  readonly setKeys: SetKeys;
  readonly turns: Turns;
  readonly catchUp: CatchUp;
  readonly clock: Clock;
  readonly settling: Settling;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): EncryptionChange => {
  const {
    store,
    disks,
    snapshots,
    volumes,
    headers,
    stored,
    making,
    deks,
    setKeys,
    turns,
    catchUp,
    clock,
    random,
    log,
    settling,
  } = parts;

  const finishWith = (
    name: string,
    { encryption, volumeId: announced }: Announced,
    made: {
      readonly volume: VolumeRef;
      readonly header: DiskHeader;
      readonly key: SetKey | undefined;
      readonly accessEpoch: number;
    },
    cause: Cause,
  ) => {
    const changed = {
      volume: made.volume,
      wrap: wrapRefOf(encryption, made.header),
      accessEpoch: made.accessEpoch,
    };
    const guard = made.key && setKeys.guard(setOf(encryption), made.key.generation);
    const rows = [stored.put(made.volume.volumeId, made.header)];
    return transactGuarded(store, disks, name, finishChange(clock.now(), announced, changed), cause, { guard, rows });
  };

  const rewrapInPlace = async (name: string, disk: ActiveDisk, changing: Announced, cause: Cause): Promise<void> => {
    const { encryption } = changing;
    const { volumeId, dekAuthenticator } = disk.volume;
    const { location } = disk;
    const set = setOf(encryption);
    let key =
      encryption.type === 'platform' ? undefined : await setKeys.forEncrypting(encryption, { name, location }, cause);
    const holder = { ...disk, name, changing };
    let header = await headers.current(holder);
    const { dek } = await deks.unwrap(holder, header, cause);
    try {
      for (let done = false; !done; ) {
        const { wrap, ref, grant } = await deks.wrap(
          dek,
          { dekId: header.dekId, diskId: header.diskId },
          { name, set, key },
        );
        const accessEpoch = grant?.accessEpoch ?? 0;
        const inForce: SetKey | undefined = key;
        ({ header } = await replaceHeader(
          volumes,
          volumeId,
          header,
          { wrap, set, generation: ref.generation },
          async (next) => {
            try {
              const volume = volumeRefOf(volumeId, next, dekAuthenticator);
              await finishWith(name, changing, { volume, header: next, key: inForce, accessEpoch }, cause);
              done = true;
            } catch (error) {
              // A later generation has begun: this wrap stays until the next one takes its place.
              if (!(error instanceof CursorConflict)) throw error;
            }
          },
        ));
        if (!done) key = await setKeys.inForce(set, cause);
      }
    } finally {
      dek.fill(0);
    }
  };

  const copy = async (name: string, disk: ActiveDisk, changing: Announced, cause: Cause): Promise<void> => {
    const { encryption, volumeId } = changing;
    const { location, uniqueId, sizeGib } = disk;
    const wish = {
      name,
      location,
      uniqueId,
      volumeId,
      encryption,
      sizeBytes: sizeGib * bytesPerGib,
      source: { ...disk, name },
    };
    await making.fresh(wish, cause, (made) => finishWith(name, changing, made, cause));
    await removeFormer(name, disk.volume.volumeId, cause);
  };

  /** What was copied is there still, under the earlier key. It is on record until it is removed, whoever began that and failed. */
  const removeFormer = async (name: string, volumeId: string, cause: Cause): Promise<void> => {
    await volumes.remove(volumeId);
    const rows = [stored.remove(volumeId)];
    await transactGuarded(store, disks, name, noteFormerRemoved(clock.now(), volumeId), cause, { rows });
  };

  const isShared = async ({ uniqueId, volume }: ActiveDisk): Promise<boolean> => {
    const taken = await snapshots.listAll({ index: { index: 'source_unique_id', value: uniqueId } });
    return taken.some(
      ({ state }) => state.status === 'creating' || ('volume' in state && state.volume.dekId === volume.dekId),
    );
  };

  const settle: EncryptionChange['settle'] = async (name, cause) => {
    const { state } = await disks.load(name);
    if (state.status !== 'active') return;
    if (state.formerVolumeId !== undefined) await removeFormer(name, state.formerVolumeId, cause);
    if (state.changing === null) return;
    const { volumeId, dekAuthenticator, headerSequence } = state.volume;
    const header = await headers.settled({ ...state, name });
    if (header.sequence > headerSequence) {
      const volume = volumeRefOf(volumeId, header, dekAuthenticator);
      await finishWith(name, state.changing, { volume, header, key: undefined, accessEpoch: state.accessEpoch }, cause);
      await headers.tidied({ ...state, name, volume });
      return;
    }
    const { state: after } = await disks.transact(
      name,
      failChange(clock.now(), state.changing.volumeId, 'INTERRUPTED'),
      cause,
    );
    // Only a volume that is certainly not the disk's is removed: the store may have stored more than it answered.
    if (after.status === 'active' && after.volume.volumeId !== state.changing.volumeId) {
      await volumes.remove(state.changing.volumeId);
    }
  };

  const refuseIncremental = async (uniqueId: string): Promise<void> => {
    const taken = await snapshots.listAll({ index: { index: 'source_unique_id', value: uniqueId } });
    if (!taken.some(({ state }) => state.status !== 'absent' && state.incremental)) return;
    throw new Rejection(
      'FAILED_PRECONDITION',
      'DISK_HAS_INCREMENTAL_SNAPSHOTS',
      'Cannot update encryption properties for disk because it already has incremental snapshots: copy it to a new disk instead',
      { field: 'encryption' },
    );
  };

  /** Until it is settled nobody can open the disk, so it is tried again until the store answers. */
  const settleLater = (name: string, cause: Cause): void => settling.later(name, () => settle(name, cause));

  return {
    settle,
    change: (name, encryption, cause, options) =>
      turns(name, async () => {
        await settle(name, cause);
        // What the header is ahead by later is this change and nothing else.
        const { state: before } = await catchUp(name, cause);
        checkLayers(before.sku, encryption);
        const { events, state } = await disks
          .transact(name, beginChange(clock.now(), encryption, random.uuid()), cause, options)
          .catch((error: unknown) => {
            // Not answered, and announced perhaps.
            if (error instanceof StoreUnavailable) settleLater(name, cause);
            throw error;
          });
        const { changing } = existing(state);
        if (events.length === 0 || changing === null) return disks.load(name);
        try {
          await refuseIncremental(before.uniqueId);
          const needsCopy = isLayered(before.encryption) !== isLayered(encryption) || (await isShared(before));
          if (needsCopy) await copy(name, before, changing, cause);
          else await rewrapInPlace(name, before, changing, cause);
        } catch (error) {
          // The caller must hear what went wrong first.
          if (error instanceof StoreUnavailable) settleLater(name, cause);
          else {
            await settle(name, cause).catch((failure: unknown) => {
              log.error('a failed change of encryption could not be undone yet', { disk: name, error: failure });
              settleLater(name, cause);
            });
          }
          throw error;
        }
        return disks.load(name);
      }),
  };
};
