import { type Category, Rejection } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import type { Background } from './background.ts';
import type { DiskEvent } from './disk/events.ts';
import type { Disk } from './disk/state.ts';
import type { Snapshot } from './snapshot/decider.ts';
import type { SnapshotEvent } from './snapshot/events.ts';
import { tidiedHeader } from './volume/headers.ts';
import type { Volumes } from './volume/volumes.ts';

/** Disks or snapshots looked at together. */
const pageSize = 128;
/** Until it is looked again where something could not be looked at, in milliseconds. */
const againMs = 30_000;

/**
 * Erases what a crash left of headers. It may have come between the event of a new header and the erasing of the one before,
 * whose wrap is under a key that the disk was taken from. Whoever opens a disk erases that, and whoever moves it; nobody else
 * comes to a snapshot, or to a disk that is not opened. Nothing waits for it. Rules CMK-10, CMK-89.
 */
export const tidyHeaders = async (parts: {
  readonly disks: Pick<Category<Disk, DiskEvent>, 'list'>;
  readonly snapshots: Pick<Category<Snapshot, SnapshotEvent>, 'list'>;
  readonly volumes: Volumes;
  /** Work that yields to guests. */
  readonly background: Pick<Background, 'run'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Pick<Logger, 'warn'>;
  /** Ends it. */
  readonly signal: AbortSignal;
}): Promise<void> => {
  const { disks, snapshots, volumes, background, clock, log, signal } = parts;

  /** @throws why it could not be looked at yet */
  const tidy = async (volumeId: string): Promise<void> => {
    try {
      await background.run(() => tidiedHeader(volumes, volumeId));
    } catch (error) {
      // It is damaged, or was deleted meanwhile.
      if (!(error instanceof Rejection && error.code === 'DATA_LOSS')) throw error;
    }
  };
  /** @returns why some could not be looked at yet */
  const tidyAll = async (kind: typeof disks | typeof snapshots): Promise<unknown> => {
    let failure: unknown;
    let after: string | undefined;
    do {
      const page = await kind.list({ limit: pageSize, ...(after === undefined ? {} : { after }) });
      // Before the first header of a volume there is none.
      const replaced = page.items.flatMap(({ state }) =>
        'volume' in state && state.volume.headerSequence > 1 ? [state.volume.volumeId] : [],
      );
      const looks = await Promise.allSettled(replaced.map(tidy));
      for (const look of looks) if (look.status === 'rejected') failure ??= look.reason;
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    return failure;
  };

  while (!signal.aborted) {
    const [ofDisks, ofSnapshots] = [
      await tidyAll(disks).catch((error: unknown) => error),
      await tidyAll(snapshots).catch((error: unknown) => error),
    ];
    const error = ofDisks ?? ofSnapshots;
    if (error === undefined) return;
    log.warn('headers that a crash may have left something of could not all be looked at yet', { error });
    await clock.sleep(againMs, signal);
  }
};
