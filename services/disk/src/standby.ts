import { type Category, type Cause, type EventStore, type Loaded, Rejection } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { CatchUp } from './disk/catching-up.ts';
import { existing as existingDisk, noteStandby as noteDiskStandby, refuseChanging } from './disk/decider.ts';
import type { DiskEvent } from './disk/events.ts';
import type { Disk } from './disk/state.ts';
import type { DiskHeader } from './disk-header-format.ts';
import { type Encryption, setOf, type VolumeRef, type WrapRef } from './encryption.ts';
import { transactGuarded } from './guarded-commit.ts';
import type { SetKeys } from './keys/set-keys.ts';
import type { SetOptions } from './keys/set-options.ts';
import type { Vault } from './keys/vault.ts';
import { existing as existingSnapshot, noteStandby as noteSnapshotStandby, type Snapshot } from './snapshot/decider.ts';
import type { SnapshotEvent } from './snapshot/events.ts';
import type { Turns } from './turns.ts';
import type { Headers } from './volume/genuine-headers.ts';
import { headerRefOf, replaceHeader } from './volume/headers.ts';
import type { StoredHeaders } from './volume/stored-headers.ts';
import type { Volumes } from './volume/volumes.ts';

/**
 * Keeps every DEK of a set wrapped under the set's standby key as well, where it has one, and only there (CMK-108).
 *
 *   vault rewraps active → standby ──▶ second slot, synced, read back ──▶ old slot erased ──▶ commit
 *
 * The DEK never leaves the vault for it. The wrap wins no lease and opens nothing here: it serves only a `Rewrap` away from
 * a purged key, by the word of the standby key's owner. It is made after its disk and not with it, so that a standby key
 * that cannot be used keeps nobody from working; `standby_key_version` of a resource tells whether it is there. What is under
 * an older generation than the set's word about its standby is left alone: it may have to move from the wrap it has.
 */
export interface StandbyUpkeep {
  /** Something about the set may have changed: looks at its disks and snapshots, and again until all is as it should be. */
  kick(set: string): void;
  /** Looks at every set that has or had a standby key. */
  resume(): void;
}

/** Resources looked at in one go. */
const pageSize = 100;
/** Waits before looking again at what could not be done, in milliseconds: doubling up to the longest. */
const retryMs = 200;
const retryMsMax = 600_000;

/** A set being looked at. */
interface Run {
  /** Whether to look again from the beginning. */
  isStale: boolean;
  /** Ends the wait before the next look. */
  wake: AbortController;
}

/** The header of a volume as it is now. */
interface HeaderOf {
  readonly volumeId: string;
  readonly header: DiskHeader;
}

interface Kept extends WrapRef {
  readonly encryption: Encryption;
  readonly volume: VolumeRef;
  readonly standbyKeyVersion?: string;
}

/** Opens it. */
export const openStandbyUpkeep = (parts: {
  readonly store: EventStore;
  readonly disks: Category<Disk, DiskEvent>;
  readonly snapshots: Category<Snapshot, SnapshotEvent>;
  readonly volumes: Volumes;
  readonly headers: Pick<Headers, 'current' | 'tidied'>;
  readonly stored: Pick<StoredHeaders, 'put'>;
  readonly vault: Pick<Vault, 'rewrap'>;
  readonly setKeys: Pick<SetKeys, 'inForce'>;
  readonly options: Pick<SetOptions, 'standbyOf' | 'standbySince' | 'mayHaveStandby' | 'withStandby'>;
  readonly turns: Turns;
  readonly catchUp: CatchUp;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid' | 'fraction'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
}): StandbyUpkeep => {
  const { store, disks, snapshots, volumes, headers, stored } = parts;
  const { vault, setKeys, options, turns, catchUp, clock, random, log, signal } = parts;
  const running = new Map<string, Run>();

  const kinds = {
    disk: {
      load: async (name: string, cause: Cause): Promise<Kept> => {
        const disk = existingDisk((await disks.load(name)).state);
        refuseChanging(disk);
        // A header that is ahead for another reason is told as that first.
        return (await catchUp(name, cause)).state;
      },
      note: (name: string, keyVersion: string, { volumeId, header }: HeaderOf, cause: Cause) => {
        const decide = noteDiskStandby(clock.now(), keyVersion, headerRefOf(volumeId, header));
        return transactGuarded(store, disks, name, decide, cause, { rows: [stored.put(volumeId, header)] });
      },
    },
    snapshot: {
      load: async (name: string): Promise<Kept> => existingSnapshot((await snapshots.load(name)).state),
      note: (name: string, keyVersion: string, { volumeId, header }: HeaderOf, cause: Cause) => {
        const decide = noteSnapshotStandby(clock.now(), keyVersion, headerRefOf(volumeId, header));
        return transactGuarded(store, snapshots, name, decide, cause, { rows: [stored.put(volumeId, header)] });
      },
    },
  } as const;

  /** @throws Rejection of the vault; ABORTED where the resource is being changed otherwise: later */
  const keep = async (kind: keyof typeof kinds, name: string, set: string, cause: Cause): Promise<void> => {
    const { load, note } = kinds[kind];
    const wanted = options.standbyOf(set);
    const before = await turns(name, () => load(name, cause));
    if (setOf(before.encryption) !== set || before.generation < options.standbySince(set)) return;
    const { volumeId } = before.volume;
    const header = await headers.current({ ...before, name });
    const isThere = (header.standby?.keyVersion ?? '') === wanted;
    // The active key needs no standby that is the same.
    const isNeeded = wanted !== '' && wanted !== header.wrap.keyVersion;
    let standby = isThere ? header.standby : undefined;
    if (!isThere && isNeeded) {
      const { principal } = await setKeys.inForce(set, cause);
      const question = { set, principal, keyVersion: header.wrap.keyVersion, resource: name };
      const { wrapped } = await vault.rewrap(question, wanted, header.wrap.wrapped);
      standby = { ...header.wrap, keyVersion: wanted, wrapped: Uint8Array.from(wrapped) };
    }
    await turns(name, async () => {
      const now = await load(name, cause);
      const isSame = now.volume.volumeId === volumeId && setOf(now.encryption) === set;
      const isMoved = header.wrap.keyVersion !== now.keyVersion || header.generation !== now.generation;
      // A rewrap whose event is missing: the rotation tells of it first.
      if (!isSame || isMoved) throw changedMeanwhile(name);
      // What was there before is erased first: of a standby wrap that is told to be away nothing is left.
      const { header: noted } =
        standby === header.standby
          ? { header: await headers.tidied({ ...now, name }) }
          : await replaceHeader(volumes, volumeId, header, { standby }, async () => undefined);
      await note(name, standby?.keyVersion ?? '', { volumeId, header: noted }, cause);
    });
  };

  const isKept = (state: Disk | Snapshot, set: string): boolean => {
    if (state.status !== 'active' || setOf(state.encryption) !== set) return true;
    if (state.generation < options.standbySince(set)) return true;
    const wanted = options.standbyOf(set);
    const isNeeded = wanted !== '' && wanted !== state.keyVersion;
    return (state.standbyKeyVersion ?? '') === (isNeeded ? wanted : '');
  };

  /** @returns how many are not as they should be */
  const lookAt = async (set: string): Promise<number> => {
    const id = random.uuid();
    const cause = { correlationId: id, causationId: id, caller: 'system:disk' };
    let left = 0;
    const each = async (kind: keyof typeof kinds, items: readonly Loaded<Disk | Snapshot>[]): Promise<void> => {
      for (const { id: name, state } of items) {
        if (signal.aborted || isKept(state, set)) continue;
        try {
          await keep(kind, name, set, cause);
        } catch (error) {
          left += 1;
          const isExpected = error instanceof Rejection;
          if (left === 1 || !isExpected)
            log.warn('a standby wrap is not as it should be', { resource: name, set, error });
        }
      }
    };
    const index = { index: 'set', value: set };
    for (const [kind, category] of [
      ['disk', disks],
      ['snapshot', snapshots],
    ] as const) {
      let after: string | undefined;
      do {
        const page = await category.list({ index, limit: pageSize, ...(after === undefined ? {} : { after }) });
        await each(kind, page.items);
        after = page.next;
      } while (after !== undefined && !signal.aborted);
    }
    return left;
  };

  const run = async (set: string, state: Run): Promise<void> => {
    for (let failures = 0; !signal.aborted; ) {
      state.isStale = false;
      const left = await lookAt(set).catch((error: unknown) => {
        log.warn('the standby wraps of a set could not be looked at', { set, error });
        return 1;
      });
      if (left === 0 && !state.isStale) break;
      if (state.isStale) continue;
      failures += 1;
      state.wake = new AbortController();
      const waitMs = Math.min(retryMsMax, retryMs * 2 ** (failures - 1)) * (0.5 + random.fraction() / 2);
      await clock.sleep(waitMs, state.wake.signal, signal);
    }
    running.delete(set);
  };

  const kick = (set: string): void => {
    const found = running.get(set);
    if (found) {
      found.isStale = true;
      found.wake.abort();
      return;
    }
    const state: Run = { isStale: false, wake: new AbortController() };
    running.set(set, state);
    outsideOfCalls(() => void run(set, state));
  };

  return {
    kick: (set) => {
      if (options.mayHaveStandby(set)) kick(set);
    },
    resume: () => options.withStandby().forEach(kick),
  };
};

const changedMeanwhile = (name: string): Rejection =>
  new Rejection('ABORTED', 'HEADER_STALE', `${name} changed while its standby wrap was made: again`, { name });
