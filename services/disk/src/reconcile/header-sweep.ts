import type { Cause, IndexEntry, Page } from '@interlock/event-store';
import type { Control } from '../disk/control.ts';
import { setOf } from '../disk/encryption.ts';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import { ofHost } from '../fleet/own.ts';
import { isDamaged } from '../host/disk-host.ts';
import { followHeaderLater } from '../moves/header-following.ts';
import type { ActiveSnapshot, Snapshot } from '../snapshot/decider.ts';

/** Disks or snapshots inspected together. */
const pageSize = 128;
/** Wait before the sweep is repeated because some header could not be inspected, in milliseconds. */
const repeatMs = 30_000;

/**
 * Inspects the headers of all disks and snapshots of this host after the start. A crash may have come between the event of a new header and
 * the erasure of the previous one, whose wrap is under a key that the disk has left. An open or a move erases it, but snapshots and
 * closed disks may have neither. If the crash came before the event, the event follows. Older headers are found before an open.
 * Rules CMK-10, CMK-88, CMK-89.
 */
export const sweepHeaders = async (control: Control, cause: Cause): Promise<void> => {
  const { clock, log, signal } = control;
  while (!signal.aborted) {
    const generations = new Map<string, Promise<number>>();
    const [ofDisks, ofSnapshots] = [
      await sweepKind(control, control.disks, generations, cause).catch((error: unknown) => error),
      await sweepKind(control, control.snapshots, generations, cause).catch((error: unknown) => error),
    ];
    const error = ofDisks ?? ofSnapshots;
    if (error === undefined) return;
    log.warn('some headers could not be inspected after the start; they are inspected again', { error });
    await clock.sleep(repeatMs, signal);
  }
};

/** @returns why some could not be inspected yet */
const sweepKind = async (
  control: Control,
  kind: { list(query: { index: IndexEntry; limit: number; after?: string }): Promise<Page<Disk | Snapshot>> },
  generations: Map<string, Promise<number>>,
  cause: Cause,
): Promise<unknown> => {
  let failure: unknown;
  let after: string | undefined;
  do {
    const page: Page<Disk | Snapshot> = await kind.list({
      index: ofHost(control.hostName),
      limit: pageSize,
      ...(after === undefined ? {} : { after }),
    });
    const outcomes = await Promise.allSettled(
      page.items.map(async ({ id, state }) => {
        if (state.status !== 'active') return;
        if (await mayHavePrevious(control, state, generations)) await sweep(control, id, state, cause);
      }),
    );
    for (const outcome of outcomes) if (outcome.status === 'rejected') failure ??= outcome.reason;
    after = page.next;
  } while (after !== undefined && !control.signal.aborted);
  return failure;
};

/** The first header of a volume has no previous one, and the next one exists only if it was to be moved. */
const mayHavePrevious = async (
  { setKeys }: Control,
  { encryption, generation, volume }: ActiveDisk | ActiveSnapshot,
  generations: Map<string, Promise<number>>,
): Promise<boolean> => {
  if (volume.headerSequence > 1) return true;
  const set = setOf(encryption);
  if (set === '') return false;
  const begun = generations.get(set) ?? setKeys.begun(set);
  generations.set(set, begun);
  return generation < (await begun);
};

const sweep = async (
  control: Control,
  name: string,
  state: ActiveDisk | ActiveSnapshot,
  cause: Cause,
): Promise<void> => {
  const { host } = control;
  const header = await host
    .inBackground(() => host.inspect({ ...state, name }, 'erase previous'))
    .catch((error: unknown) => {
      // An operator has to look at it; or its volume was removed meanwhile.
      if (!isDamaged(error)) throw error;
      return undefined;
    });
  if (header && header.sequence > state.volume.headerSequence) followHeaderLater(control, name, cause);
};
