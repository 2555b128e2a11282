import { type Category, type Cause, type Page, Rejection } from '@interlock/event-store';
import { outsideOfCalls } from '@interlock/rpc';
import type { Clock, Logger } from '@interlock/runtime';
import { setOf } from '../disk/encryption.ts';
import type { DiskEvent } from '../disk/events.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import type { Background } from '../host/background.ts';
import { erasePrevious } from '../host/header/disk-header.ts';
import type { Headers } from '../host/header/genuine-headers.ts';
import type { SetKeys } from '../host/keys/set-keys.ts';
import type { Volumes } from '../host/volume/volumes.ts';
import type { ActiveSnapshot, Snapshot } from '../snapshot/decider.ts';
import type { SnapshotEvent } from '../snapshot/events.ts';
import type { Following, Resource } from './following.ts';

/** Disks or snapshots looked at together. */
const pageSize = 128;
/** Until it is looked again where something could not be looked at, in milliseconds. */
const againMs = 30_000;

/** Waits before what could not be erased is tried again, in milliseconds: doubling up to `againMs`. */
const retryMs = 200;

/** Does it, unless the header is damaged, or the volume was deleted meanwhile. @throws why it cannot be done yet */
const unlessDamaged = async <Result>(work: () => Promise<Result>): Promise<Result | undefined> => {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Rejection && error.code === 'DATA_LOSS')) throw error;
    return undefined;
  }
};

/**
 * Erases, as soon as the storage does it, what is left of a header whose change failed: the event of the change may be stored, and
 * then nobody comes to that disk because of it again. Rules CMK-10, CMK-89.
 */
export const openTidyLater = (parts: {
  readonly volumes: Volumes;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Pick<Logger, 'warn'>;
  /** Ends it. */
  readonly signal: AbortSignal;
}): ((volumeId: string) => void) => {
  const { volumes, clock, log, signal } = parts;
  const left = new Set<string>();

  const tidy = async (volumeId: string): Promise<void> => {
    for (let waitMs = retryMs; !signal.aborted; waitMs = Math.min(waitMs * 2, againMs)) {
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        await unlessDamaged(() => volumes.withHeader(volumeId, erasePrevious));
        left.delete(volumeId);
        return;
      } catch (error) {
        if (waitMs === retryMs) log.warn('what is left of a header could not be erased yet', { volumeId, error });
      }
    }
  };

  return (volumeId) => {
    if (left.has(volumeId)) return;
    left.add(volumeId);
    outsideOfCalls(() => void tidy(volumeId));
  };
};

/**
 * Erases what a crash left of headers. It may have come between the event of a new header and the erasing of the one before,
 * whose wrap is under a key that the disk was taken from. Whoever opens a disk erases that, and whoever moves it; nobody else
 * comes to a snapshot, or to a disk that is not opened. Where it came before the event, that is made up for. What the storage returned
 * an earlier header of is found here too, before anyone opens it. Nothing waits for it.
 * Rules CMK-10, CMK-88, CMK-89.
 */
export const tidyHeaders = async (
  parts: {
    readonly disks: Pick<Category<Disk, DiskEvent>, 'list'>;
    readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'list'>;
    readonly headers: Pick<Headers, 'tidied'>;
    readonly setKeys: Pick<SetKeys, 'begun'>;
    /** Work that yields to guests. */
    readonly background: Pick<Background, 'run'>;
    readonly following: Following;
    readonly clock: Pick<Clock, 'sleep'>;
    readonly log: Pick<Logger, 'warn'>;
    /** Ends it. */
    readonly signal: AbortSignal;
  },
  cause: Cause,
): Promise<void> => {
  const { disks, snapshots, headers, setKeys, background, following, clock, log, signal } = parts;

  /** @throws why it could not be looked at yet */
  const tidy = async (resource: Resource, state: ActiveDisk | ActiveSnapshot): Promise<void> => {
    const look = () => headers.tidied({ ...state, name: resource.name });
    const header = await background.run(() => unlessDamaged(look));
    if (header && header.sequence > state.volume.headerSequence) following.later(resource, cause);
  };
  /** By set: the generation that has begun. */
  const begun = new Map<string, Promise<number>>();
  const begunOf = (set: string): Promise<number> => {
    const known = begun.get(set) ?? setKeys.begun(set);
    begun.set(set, known);
    return known;
  };
  /** Before the first header of a volume there is none, and behind it there is another only where it was to be moved. */
  const mayBeReplaced = async ({ encryption, generation, volume }: ActiveDisk | ActiveSnapshot): Promise<boolean> => {
    const set = setOf(encryption);
    return volume.headerSequence > 1 || (set !== '' && generation < (await begunOf(set)));
  };
  /** @returns why some could not be looked at yet */
  const tidyAll = async (kind: Resource['kind']): Promise<unknown> => {
    let failure: unknown;
    let after: string | undefined;
    do {
      const from = { limit: pageSize, ...(after === undefined ? {} : { after }) };
      const page: Page<Disk | Snapshot> = await (kind === 'disk' ? disks : snapshots).list(from);
      const looks = await Promise.allSettled(
        page.items.map(async ({ id: name, state }) => {
          if (state.status === 'active' && (await mayBeReplaced(state))) await tidy({ name, kind }, state);
        }),
      );
      for (const look of looks) if (look.status === 'rejected') failure ??= look.reason;
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    return failure;
  };

  while (!signal.aborted) {
    const [ofDisks, ofSnapshots] = [
      await tidyAll('disk').catch((error: unknown) => error),
      await tidyAll('snapshot').catch((error: unknown) => error),
    ];
    const error = ofDisks ?? ofSnapshots;
    if (error === undefined) return;
    log.warn('headers that a crash may have left something of could not all be looked at yet', { error });
    begun.clear();
    await clock.sleep(againMs, signal);
  }
};
