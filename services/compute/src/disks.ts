import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import type { CallOptions, RpcClient } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';

/** What compute asks of the disk service. */
export type DiskClient = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'createDisk' | 'getDisk' | 'listDisks' | 'deleteDisk' | 'attachDisk' | 'openDisk' | 'closeDisks' | 'detachDisk'
>;

/** The work was stopped from outside: something more important took its place, or the service ends. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** There was no definite answer for as long as one could wait. */
export class TimedOut extends Error {
  override readonly name = 'TimedOut';
}

/** How long to go on without a definite answer. */
export interface Patience {
  /** Aborted: give up at once, with `Interrupted`. */
  readonly signal: AbortSignal;
  /** Wall-clock time after which to give up with `TimedOut`; without it never. */
  readonly untilMs?: number;
}

/** Calls of the disk service, few at a time, repeated until they are answered. */
export interface Disks {
  /**
   * Repeats a call until there is a definite answer. Every call given to it must be idempotent.
   * @throws Rejection that no repetition cures; Interrupted; TimedOut with the last failure as its cause
   */
  insist<Answer>(
    call: (client: DiskClient, options: CallOptions) => Promise<Answer>,
    patience: Patience,
  ): Promise<Answer>;
  /** Every disk of a set, or of one of its key versions, or those of them that have no data now, page by page. */
  ofSet(
    filter: { readonly diskEncryptionSet: string; readonly keyVersion?: string; readonly unavailableOnly?: boolean },
    patience: Patience,
  ): AsyncGenerator<Disk>;
}

/** Waits between two tries, in milliseconds: short, because a machine waits, and doubling, because others wait too. */
const backoffMsMin = 50;
const backoffMsMax = 2_000;
/** Deadline of one try, in milliseconds. The disk service gives up a call at its deadline as well. */
export const callDeadlineMs = 10_000;
const pageSize = 1_000;

/** @param callsMax calls under way at once; more wait their turn */
export const openDisks = (parts: {
  readonly client: DiskClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly callsMax: number;
}): Disks => {
  const { client, clock, random } = parts;
  const turns = limiter(parts.callsMax);

  const insist: Disks['insist'] = async (call, patience) => {
    const { signal } = patience;
    for (let tries = 1; ; tries += 1) {
      if (signal.aborted) throw new Interrupted('stopped before the disk service was asked');
      try {
        return await orInterrupted(
          turns(() => call(client, { deadlineMs: callDeadlineMs })),
          signal,
        );
      } catch (error) {
        if (error instanceof Rejection && !error.retryable()) throw error;
        const waitMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (tries - 1)) * (0.5 + random.fraction() / 2);
        if (patience.untilMs !== undefined && clock.now() + waitMs > patience.untilMs) {
          throw new TimedOut('the disk service gave no definite answer in time', { cause: error });
        }
        await clock.sleep(waitMs, signal);
      }
    }
  };

  return {
    insist,
    async *ofSet({ diskEncryptionSet, keyVersion = '', unavailableOnly = false }, patience) {
      let pageToken = '';
      do {
        const request = { diskEncryptionSet, keyVersion, unavailableOnly, pageSize, pageToken };
        const page = await insist((disk, options) => disk.listDisks(request, options), patience);
        yield* page.disks;
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
    },
  };
};

/** Waits for the result, but no longer than until the signal is aborted. What was sent is not called back. */
export const orInterrupted = async <Result>(result: Promise<Result>, signal: AbortSignal): Promise<Result> => {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(new Interrupted('stopped while waiting'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([result, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
};

/** Lets at most `max` pieces of work run at once; the others wait in order. */
export const limiter = (max: number): (<Result>(work: () => Promise<Result>) => Promise<Result>) => {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
};
