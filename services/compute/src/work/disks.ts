import type { OpenDiskRequest, OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { Rejection } from '@interlock/event-store';
import {
  type Batching,
  type CallOptions,
  type ItemRefusal,
  itemError,
  openBatching,
  type RpcClient,
} from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { limiter } from '../limiter.ts';

/** What compute asks of the disk service. */
export type DiskClient = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'createDisk' | 'getDisk' | 'listDisks' | 'deleteDisk' | 'attachDisk' | 'openDisks' | 'closeDisks' | 'detachDisk'
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
  /**
   * Opens a disk of a set (`''`: of none), in one call with others of the set that are opened at about the same time: what
   * a vault does not answer holds up no disk of another.
   * @throws as `insist`
   */
  open(request: OpenDiskRequest, set: string, correlationId: string, patience: Patience): Promise<OpenDiskResponse>;
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
/** Disks opened in one call: as many as the disk service unwraps in one. */
const opensMax = 128;

/** @param callsMax calls under way at once; more wait their turn */
export const openDisks = (parts: {
  readonly client: DiskClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  readonly callsMax: number;
}): Disks => {
  const { client, clock, random, tracer } = parts;
  const turns = limiter(parts.callsMax);

  /** Repeats something until there is a definite answer. */
  const repeat = async <Answer>(attempt: () => Promise<Answer>, patience: Patience): Promise<Answer> => {
    const { signal } = patience;
    for (let tries = 1; ; tries += 1) {
      if (signal.aborted) throw new Interrupted('stopped before the disk service was asked');
      try {
        return await orInterrupted(attempt(), signal);
      } catch (error) {
        if (isDefinite(error)) throw error;
        const waitMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (tries - 1)) * (0.5 + random.fraction() / 2);
        if (patience.untilMs !== undefined && clock.now() + waitMs > patience.untilMs) {
          throw new TimedOut('the disk service gave no definite answer in time', { cause: error });
        }
        await clock.sleep(waitMs, signal);
      }
    }
  };

  const insist: Disks['insist'] = (call, patience) =>
    repeat(() => turns(() => call(client, { deadlineMs: callDeadlineMs })), patience);

  const opens = new Map<string, Batching<OpenDiskRequest, OpenDiskResponse>>();
  const opensOf = (set: string): Batching<OpenDiskRequest, OpenDiskResponse> => {
    const known = opens.get(set);
    if (known) return known;
    const opening = openBatching<OpenDiskRequest, OpenDiskResponse>({
      name: 'open disks',
      sizeMax: opensMax,
      clock,
      tracer,
      onIdle: () => void opens.delete(set),
      async send(items) {
        const wanted = items.map(({ wish, origin }) => ({ open: wish, origin }));
        const { outcomes } = await client.openDisks({ items: wanted }, { deadlineMs: callDeadlineMs });
        return outcomes.map(({ outcome }) =>
          outcome?.$case === 'opened' ? { answer: outcome.value } : { error: refusedBy('OpenDisks', outcome?.value) },
        );
      },
    });
    opens.set(set, opening);
    return opening;
  };

  return {
    insist,
    open: (request, set, correlationId, patience) => repeat(() => opensOf(set)(request, correlationId), patience),
    ofSet: ({ diskEncryptionSet, keyVersion = '', unavailableOnly = false }, patience) =>
      disksListed((pageToken) => {
        const request = { diskEncryptionSet, keyVersion, unavailableOnly, pageSize, pageToken };
        return insist((disk, options) => disk.listDisks(request, options), patience);
      }),
  };
};

/**
 * Whether a failure is a refusal of what was asked. A token of ours that was not taken is none, as the next one is another; nor is
 * it that a disk host was replaced, as the next one is asked.
 */
export const isDefinite = (error: unknown): error is Rejection =>
  error instanceof Rejection &&
  !error.retryable() &&
  error.code !== 'UNAUTHENTICATED' &&
  error.reason !== 'DISK_HOST_REPLACED';

/** What a call for an item alone would have thrown; an item without an outcome is as good as unanswered. */
export const refusedBy = (method: string, refusal: ItemRefusal | undefined): Error =>
  refusal ? itemError(refusal, { method, peer: 'disk' }) : new Error(`${method} answered an item with nothing`);

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

async function* disksListed(
  page: (pageToken: string) => Promise<{ readonly disks: readonly Disk[]; readonly nextPageToken: string }>,
): AsyncGenerator<Disk> {
  let pageToken = '';
  do {
    const { disks, nextPageToken } = await page(pageToken);
    yield* disks;
    pageToken = nextPageToken;
  } while (pageToken !== '');
}
