import {
  type Category,
  type Cause,
  CursorConflict,
  type EventStore,
  type Loaded,
  Rejection,
} from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import { existing as existingDisk, grow, refuseChanging, rewrap as rewrapDisk } from '../disk/decider.ts';
import { type Encryption, setOf, type VolumeRef, type WrapRef } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import { transactGuarded } from '../disk/guarded-commit.ts';
import type { Disk } from '../disk/state.ts';
import type { Turns } from '../disk/turns.ts';
import type { Sessions } from '../host/data/sessions.ts';
import type { DiskHeader } from '../host/header/disk-header-format.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import { headerRefOf, replaceHeader, wrapRefOf } from '../host/header/headers.ts';
import type { StoredHeaders } from '../host/header/stored-headers.ts';
import type { KeyAccess } from '../host/keys/key-access.ts';
import type { SetKey, SetKeys } from '../host/keys/set-keys.ts';
import type { Vault } from '../host/keys/vault.ts';
import { bytesPerGib } from '../host/volume/volume-making.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { Following, Resource } from '../reconcile/following.ts';
import { existing as existingSnapshot, rewrap as rewrapSnapshot, type Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { Step } from './cohort.ts';

/** What moves is found like this, whether disk or snapshot. */
interface Wrapped extends WrapRef {
  readonly encryption: Encryption;
  readonly volume: VolumeRef;
  /** Of disks alone. */
  readonly accessEpoch?: number;
}

/** One that was looked at, and how what its header says is stored. */
interface Opened {
  readonly wrapped: Wrapped;
  readonly commit: (header: DiskHeader, accessEpoch: number, cause: Cause) => Promise<Moved>;
}

/**
 * Moves the DEK of a disk or snapshot to another key version, inside the vault; I/O goes on (CMK-15, CMK-16, CMK-82).
 *
 *   vault rewraps ──▶ second slot, synced, read back ──▶ commit (guarded by the generation) ──▶ old slot erased
 *
 * The vault is asked outside of the resource's turn, so closing a disk never waits for it. A disk that is open has the
 * lease of its new version before it moves, so that its I/O goes on. After a crash a header that is ahead of the events
 * counts, and the events catch up here, or by themselves where nobody asks for the move again.
 *
 * Many may be asked for at one time: they keep step, so that they share looks at the store, messages to the vault and commits.
 * @returns the disk or snapshot as it is then
 * @throws Rejection FAILED_PRECONDITION GENERATION_OUTDATED, NOT_ENCRYPTED_WITH_SET; a reason of key loss, with `key_version`
 *   saying whether of source or target
 */
export type Rewrapping = (
  resource: Resource,
  target: {
    readonly keyVersion: string;
    readonly generation: number;
  },
  cause: Cause,
  /** Keeps together those that are moved beside each other. */
  step: Step,
) => Promise<Moved>;

/** A disk or snapshot as it is after its move. */
export type Moved =
  | { readonly kind: 'disk'; readonly now: Loaded<Disk> }
  | { readonly kind: 'snapshot'; readonly now: Loaded<Snapshot> };

/** Opens it. */
export const openRewrapping = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly volumes: Volumes;
  readonly headers: Headers;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly sessions: Sessions;
  readonly vault: Vault;
  readonly keyAccess: Pick<KeyAccess, 'lease'>;
  readonly setKeys: SetKeys;
  readonly following: Following;
  readonly turns: Turns;
  readonly clock: Clock;
  readonly log: Pick<Logger, 'warn'>;
}): Rewrapping => {
  const { store, disks, snapshots, volumes, headers, stored } = parts;
  const { sessions, vault, keyAccess, setKeys, turns, clock, log } = parts;

  /** What stands in a header, as events and the guard of the generation have it. */
  const factsOf = ({ encryption, volume: { volumeId } }: Wrapped, header: DiskHeader) => {
    const wrap = wrapRefOf(encryption, header);
    const of = headerRefOf(volumeId, header);
    const rows = [stored.put(volumeId, header)];
    const guard = setKeys.guard(setOf(encryption), wrap.generation);
    return { wrap, guard, of, rows, at: clock.now() };
  };
  const openDisk = async (name: string): Promise<Opened> => {
    const loaded = await disks.load(name);
    const found = existingDisk(loaded.state);
    // A header that is ahead of a changing disk is the change: nothing else may move it.
    refuseChanging(found);
    return {
      wrapped: found,
      async commit(header, accessEpoch, cause) {
        const { wrap, guard, of, rows, at } = factsOf(found, header);
        const decide = (disk: Disk) => [
          ...rewrapDisk(at, wrap, of, accessEpoch)(disk),
          // The header may have been ahead by a growth: from here on nobody can tell that by its sequence.
          ...grow(at, header.size / bytesPerGib, of)(disk),
        ];
        const terms = { guard, rows, known: loaded };
        return { kind: 'disk', now: await transactGuarded(store, disks, name, decide, cause, terms) };
      },
    };
  };
  const openSnapshot = async (name: string): Promise<Opened> => {
    const loaded = await snapshots.load(name);
    const found = existingSnapshot(loaded.state);
    return {
      wrapped: found,
      async commit(header, accessEpoch, cause) {
        const { wrap, guard, of, rows, at } = factsOf(found, header);
        const decide = rewrapSnapshot(at, wrap, of, accessEpoch);
        const terms = { guard, rows, known: loaded };
        return { kind: 'snapshot', now: await transactGuarded(store, snapshots, name, decide, cause, terms) };
      },
    };
  };

  return async (resource, target, cause, step) => {
    const { name, kind } = resource;
    const load = () => (kind === 'snapshot' ? openSnapshot(name) : openDisk(name));

    /** The wrap the target wants. Under the version it has already, only the generation is new. */
    const moved = async ({ wrap }: DiskHeader, set: string, key: SetKey) => {
      if (wrap.keyVersion === target.keyVersion) return { wrap, grant: undefined };
      const question = { set, principal: key.principal, keyVersion: wrap.keyVersion, resource: name };
      const { wrapped, grant } = await vault.rewrap(question, target.keyVersion, wrap.wrapped);
      await prove(set, key, wrapped);
      return { wrap: { ...wrap, keyVersion: target.keyVersion, wrapped: Uint8Array.from(wrapped) }, grant };
    };

    /** Wins the lease of the new version for a disk that is open. @throws as the vault does */
    const prove = async (set: string, { principal }: SetKey, wrapped: Uint8Array): Promise<void> => {
      const { keyVersion } = target;
      if (kind !== 'disk' || !sessions.has(name) || keyAccess.lease({ set, keyVersion }).isHeld()) return;
      await vault.check({ set, keyVersion, principal, resource: name }, wrapped);
    };

    for (;;) {
      const { wrapped: before } = await load();
      const set = setOf(before.encryption);
      if (set === '') {
        throw new Rejection('FAILED_PRECONDITION', 'NOT_ENCRYPTED_WITH_SET', `${name} is under a key of the platform`, {
          resource: name,
        });
      }
      const key = await setKeys.inForce(set, cause);
      if (key.generation !== target.generation) throw outdated(set, target.generation, key.generation);

      const { volumeId } = before.volume;
      const release = volumes.keepHeader(volumeId);
      try {
        const holder = { ...before, name };
        const header = await headers.current(holder);
        const isMoved = header.wrap.keyVersion === target.keyVersion && header.generation === target.generation;
        // The DEK has moved, whatever the vault responds now. If it refuses, the session ends.
        if (isMoved)
          await prove(set, key, header.wrap.wrapped).catch((error: unknown) =>
            log.warn('the vault did not grant the key version that a DEK has moved to', { resource: name, error }),
          );
        await step();
        const { wrap, grant } = isMoved ? { wrap: header.wrap, grant: undefined } : await moved(header, set, key);
        return await turns(name, async () => {
          const { wrapped: state, commit } = await load();
          if (state.volume.volumeId !== volumeId) throw stale();
          const settle = async (next: DiskHeader): Promise<Moved> => {
            await step();
            try {
              return await commit(next, grant?.accessEpoch ?? state.accessEpoch ?? 0, cause);
            } catch (error) {
              // Another generation has begun, or the store does not answer: the header has moved all the same.
              parts.following.later(resource, cause);
              throw error;
            } finally {
              // Whatever becomes of the commit, which may be stored without anybody hearing of it: the header says where the DEK
              // is, so from here on a loss of the new version is what ends the session, and the lease of that what it needs.
              sessions.rewrapped(name, { set, keyVersion: target.keyVersion });
            }
          };
          if (isMoved) {
            // The vault was asked and others were waited for since: what stands there now counts, here as in `replaceHeader`.
            if ((await headers.settled(holder)).sequence !== header.sequence) throw stale();
            // An earlier attempt came so far: whatever it did not do is done now.
            const done = await settle(header);
            await headers.tidied(holder);
            return done;
          }
          const change = { wrap, generation: target.generation };
          try {
            return (await replaceHeader(volumes, volumeId, header, change, settle)).committed;
          } catch (error) {
            // The storage failed, and may have the new header all the same.
            const isOfStorage = !(error instanceof Rejection) || error.reason === 'STORAGE_FULL';
            if (isOfStorage) parts.following.later(resource, cause);
            throw error;
          }
        });
      } catch (error) {
        // Somebody else moved the header or the generation meanwhile: look again.
        const isStale = error instanceof Rejection && error.reason === 'HEADER_STALE';
        if (!(isStale || error instanceof CursorConflict)) throw error;
      } finally {
        await release();
      }
    }
  };
};

const stale = (): Rejection =>
  new Rejection('ABORTED', 'HEADER_STALE', 'the volume or its header was replaced: read it again');

const outdated = (set: string, asked: number, inForce: number): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'GENERATION_OUTDATED',
    `generation ${asked} of ${set} is not the one in force: ${inForce} is`,
    {
      disk_encryption_set: set,
      generation: String(asked),
      in_force: String(inForce),
    },
  );
