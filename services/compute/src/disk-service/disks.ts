import type { OpenDiskRequest, OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Cause, Rejection } from '@interlock/event-store';
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

/** The calls of the disk service that compute uses. */
export type DiskClient = Pick<
  RpcClient<typeof DiskServiceDefinition>,
  'createDisk' | 'getDisk' | 'listDisks' | 'deleteDisk' | 'attachDisk' | 'openDisks' | 'closeDisks' | 'detachDisk'
>;

/** The work was interrupted: other work replaced it, or the service ends. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** No definite answer arrived in time. */
export class TimedOut extends Error {
  override readonly name = 'TimedOut';
}

/** How long to continue without a definite answer. */
export interface Patience {
  /** Aborted: give up at once, with `Interrupted`. */
  readonly signal: AbortSignal;
  /** Wall-clock time after which to give up with `TimedOut`; without it never. */
  readonly untilMs?: number;
}

/** Calls of the disk service, a limited number at a time, repeated until they are answered. */
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
   * Opens a disk of a set (`''`: of no set), in one call with other disks of the set that are opened at about the same time:
   * an unreachable vault does not delay disks of another. Disks that were refused because their host does not respond are in a call
   * of that host from then on: it does not delay disks of another host.
   * @throws as `insist`
   */
  open(request: OpenDiskRequest, set: string, cause: Cause, patience: Patience): Promise<OpenDiskResponse>;
  /** Every disk of a set, or of one of its key versions, or those of them without data now, page by page. */
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

/** Disks of hosts that do not respond, kept in memory; more are opened with disks of other hosts. */
const awayMax = 100_000;

/** What calls of the disk service need. */
interface DiskParts {
  readonly client: DiskClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  /** Calls at once; more wait. */
  readonly callsMax: number;
}

export const openDisks = (parts: DiskParts): Disks => {
  const slots = limiter(parts.callsMax);
  const insist: Disks['insist'] = (call, patience) =>
    repeat(parts, () => slots(() => call(parts.client, { deadlineMs: callDeadlineMs })), patience);
  const batches = new Map<string, Batching<OpenDiskRequest, OpenDiskResponse>>();
  /** The hosts that did not respond, by disk; a disk is removed once it is opened. */
  const away = new Map<string, string>();
  const openOnce = async (request: OpenDiskRequest, set: string, cause: Cause): Promise<OpenDiskResponse> => {
    const name = `${set}\n${away.get(request.name) ?? ''}`;
    const batch = batches.get(name) ?? openBatch(parts, () => void batches.delete(name));
    batches.set(name, batch);
    try {
      const opened = await batch(request, cause);
      away.delete(request.name);
      return opened;
    } catch (error) {
      const host = hostThatIsAway(error);
      if (host !== undefined && (away.size < awayMax || away.has(request.name))) away.set(request.name, host);
      throw error;
    }
  };
  return {
    insist,
    open: (request, set, cause, patience) => repeat(parts, () => openOnce(request, set, cause), patience),
    ofSet: ({ diskEncryptionSet, keyVersion = '', unavailableOnly = false }, patience) =>
      disksListed((pageToken) => {
        const request = { diskEncryptionSet, keyVersion, unavailableOnly, pageSize, pageToken };
        return insist((disk, options) => disk.listDisks(request, options), patience);
      }),
  };
};

/** The host of a disk, `diskHosts/{disk_host}`, if a call was refused because that host does not respond. */
export const hostThatIsAway = (error: unknown): string | undefined =>
  error instanceof Rejection && error.reason === 'DISK_HOST_UNREACHABLE' ? error.metadata.disk_host : undefined;

/** Repeats a call until there is a definite answer. */
const repeat = async <Answer>(
  { clock, random }: DiskParts,
  attempt: () => Promise<Answer>,
  patience: Patience,
): Promise<Answer> => {
  const { signal } = patience;
  for (let tries = 1; ; tries += 1) {
    if (signal.aborted) throw new Interrupted('stopped before the call of the disk service');
    try {
      return await orInterrupted(attempt(), signal);
    } catch (error) {
      if (isDefinite(error)) throw error;
      const waitMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (tries - 1)) * (0.5 + random.fraction() / 2);
      // Read again each time: the failure of another disk ends the patience.
      if (patience.untilMs !== undefined && clock.now() + waitMs > patience.untilMs) {
        throw new TimedOut('the disk service gave no definite answer in time', { cause: error });
      }
      await clock.sleep(waitMs, signal);
    }
  }
};

const openBatch = ({ client, clock, tracer }: DiskParts, onIdle: () => void) =>
  openBatching<OpenDiskRequest, OpenDiskResponse>({
    ...{ name: 'open disks', sizeMax: opensMax, clock, tracer, onIdle },
    async send(items) {
      const wanted = items.map(({ request, origin }) => ({ open: request, origin }));
      const { outcomes } = await client.openDisks({ items: wanted }, { deadlineMs: callDeadlineMs });
      return outcomes.map(({ outcome, event = '' }) =>
        outcome?.$case === 'opened'
          ? { answer: outcome.value, events: event === '' ? [] : [event] }
          : { error: refusedBy('OpenDisks', outcome?.value) },
      );
    },
  });

/**
 * Whether a failure is a refusal of the request. A refused token is not, because the next call has another one; nor is a
 * replaced disk host, because the next call reaches its successor.
 */
export const isDefinite = (error: unknown): error is Rejection =>
  error instanceof Rejection &&
  !error.retryable() &&
  error.code !== 'UNAUTHENTICATED' &&
  error.reason !== 'DISK_HOST_REPLACED';

/** The error of an item, as its own call would throw it; an item without an outcome counts as unanswered. */
export const refusedBy = (method: string, refusal: ItemRefusal | undefined): Error =>
  refusal ? itemError(refusal, { method, peer: 'disk' }) : new Error(`${method} answered an item with nothing`);

/** Waits for the result, at most until the signal is aborted. A call that was sent is not cancelled. */
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
