import { type Cause, CursorConflict, type EventStore, Rejection, table } from '@interlock/event-store';
import {
  ageMs,
  type Clock,
  type ClockReading,
  type Logger,
  leftMs,
  type Random,
  readingOf,
  usableUntil,
  waitedOutMs,
} from '@interlock/runtime';

/**
 * Who may touch the volumes of a folder: one host, by a lease in the store of this service, renewed while it runs.
 *
 *   free ──take──▶ held by A, epoch n ──not renewed for a ttl, as B sees it──▶ held by B, epoch n + 1
 *                      │ ▲ renew                     A: its own time was over before, it has let go of every file
 *                      └─┘
 *
 * The host's time begins before a renewal is sent, the successor's after it has seen the last one, and clocks are given a
 * margin; so the first is over when the second is. What a process that was stopped in between may still do is held off by
 * the operating system's lock on the folder, which it keeps as long as it lives, and by the epoch in each header.
 */
export interface Ownership {
  /** Rises with each takeover by another machine. A process that starts again on the same machine keeps it. */
  readonly epoch: number;
  /** Asked before anything is done with a volume, and again before it is answered. @throws Rejection UNAVAILABLE DISK_HOST_LEASE_OVER; FAILED_PRECONDITION DISK_HOST_REPLACED */
  check(): void;
  /** Whether `check` would let it pass. */
  isHeld(): boolean;
  /**
   * Where the lease is over, as it is after the machine was suspended, has it asked for at once and waits until it is held
   * again: for no longer than `withinMs`, or until `signal` is aborted.
   * @throws Rejection as `check` does
   */
  regained(withinMs: number, signal: AbortSignal): Promise<void>;
  /** Ends the renewals, and lets a successor begin without a wait. Call it when nothing touches a volume any more. */
  release(): Promise<void>;
}

/** What this host is to the lease. */
export interface HostIdentity {
  /** Names the folder of the volumes: the same for every host that may serve them. */
  readonly folder: string;
  /**
   * Names the running kernel. A process that holds the lock of the folder there knows that the one before it has ended, and
   * waits for nothing.
   */
  readonly machine: string;
  /** How long a renewal is worth, in milliseconds; ≥ 1,000. */
  readonly ttlMs: number;
  /**
   * Who owned the folder last, as it says itself: a store that was restored to an earlier moment knows an earlier one, and
   * headers written since have a higher epoch than it would give.
   */
  readonly lastOwner?: Owner | undefined;
}

/** An owner of a folder, as the folder keeps it. */
export interface Owner {
  readonly epoch: number;
  readonly machine: string;
}

/** What applies where nothing else is said. */
export const hostLeaseTtlDefaultMs = 30_000;

/** One row a folder. The cursor beside it counts the renewals, so that a write fails after another write. */
interface HostLease {
  readonly epoch: number;
  /** UUID of the process. */
  readonly holder: string;
  readonly machine: string;
  readonly ttlMs: number;
  readonly isReleased: boolean;
}

/**
 * Takes the folder after the lease of its previous owner has expired, and keeps it until `release`.
 * @param onEnd told each time the lease runs out: every file is to be let go of
 * @param onTaken keeps the new owner with the folder, before anything is done there
 * @param onReplaced told once when another host has taken the folder: this one will never have it again
 * @throws what the store throws, and when `signal` is aborted meanwhile
 */
export const takeOwnership = async (parts: {
  readonly store: EventStore;
  readonly host: HostIdentity;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly onTaken?: ((owner: Owner) => Promise<void>) | undefined;
  readonly onEnd: () => void;
  readonly onReplaced: () => void;
}): Promise<Ownership> => {
  const { store, host, clock, random, log, signal, onEnd, onReplaced, onTaken = async () => undefined } = parts;
  const { folder, machine, ttlMs, lastOwner } = host;
  const rows = table<HostLease>(store, { name: 'disk_host', version: 1 });
  const cursor = `disk-host/${folder}`;
  const holder = random.uuid();
  const cause: Cause = { correlationId: holder, causationId: 'host lease', caller: 'system:disk' };

  const read = async () => {
    const renewals = await store.cursor(cursor);
    return { renewals, lease: await rows.get(folder) };
  };
  const write = (renewals: number, lease: HostLease) =>
    store.commit(
      {
        rows: [rows.put(folder, lease, undefined)],
        cursors: [{ name: cursor, from: renewals, to: renewals + 1 }],
      },
      cause,
    );

  let seen = await read();
  let seenAt = readingOf(clock);
  const mustWait = () => {
    const { lease } = seen;
    if (lease === undefined || lease.isReleased || lease.machine === machine) return 0;
    return waitedOutMs(lease.ttlMs) - ageMs(seenAt, readingOf(clock));
  };
  let mine: HostLease | undefined;
  let renewals = 0;
  let end: ClockReading = seenAt;
  while (mine === undefined) {
    const { lease } = seen;
    if (mustWait() > 0)
      log.warn('another host has the volumes: its lease is waited out', { folder, epoch: lease?.epoch });
    while (mustWait() > 0) {
      await clock.sleep(Math.min(mustWait(), ttlMs / 10), signal);
      if (signal.aborted) throw new Error('stopped while the lease of another host was waited out');
      const now = await read();
      if (now.renewals === seen.renewals) continue;
      seen = now;
      seenAt = readingOf(clock);
    }
    const before = seen.lease;
    const epoch = Math.max(epochAfter(before, machine), epochAfter(lastOwner, machine));
    const asked = readingOf(clock);
    try {
      const lease = { epoch, holder, machine, ttlMs, isReleased: false };
      await write(seen.renewals, lease);
      [mine, renewals, end] = [lease, seen.renewals + 1, usableUntil(asked, ttlMs)];
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      seen = await read();
      seenAt = readingOf(clock);
    }
  }
  const lease = mine;
  await onTaken({ epoch: lease.epoch, machine });

  let isReplaced = false;
  let isReleased = false;
  const ending = new AbortController();
  let wake = new AbortController();
  let change = Promise.withResolvers<void>();
  let isEndTold = false;
  const isOver = (): boolean => leftMs(end, readingOf(clock)) <= 0;

  const tellEnd = (): void => {
    const isEnd = isReplaced || isOver();
    if (isEnd && !isEndTold) onEnd();
    isEndTold = isEnd;
  };

  /** @returns whether the lease may be asked for again */
  const renew = async (): Promise<boolean> => {
    const asked = readingOf(clock);
    try {
      await write(renewals, lease);
      renewals += 1;
      end = usableUntil(asked, ttlMs);
      change.resolve();
      change = Promise.withResolvers();
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another host's write, or an own write without a response: it renews nothing, but the next may.
      const now = await read();
      if (now.lease?.holder !== holder) return false;
      renewals = now.renewals;
    }
    return true;
  };
  const keep = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      wake = new AbortController();
      await clock.sleep(
        isOver() ? ttlMs / 10 : Math.min(ttlMs / 3, ttlMs / 10 + leftMs(end, readingOf(clock)) / 3),
        ending.signal,
        wake.signal,
      );
      if (ending.signal.aborted) return;
      try {
        if (await renew()) continue;
      } catch (error) {
        log.warn('the lease of this host was not renewed', { folder, epoch: lease.epoch, error });
        continue;
      }
      isReplaced = true;
      change.resolve();
      tellEnd();
      log.error('another host has taken the volumes of this one', { folder, epoch: lease.epoch });
      onReplaced();
      return;
    }
  };
  const watch = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      tellEnd();
      await clock.sleep(isOver() ? ttlMs / 10 : Math.max(1, leftMs(end, readingOf(clock))), ending.signal);
    }
  };
  const work = Promise.all([keep(), watch()]);

  const check = (): void => {
    if (isReplaced) throw hostReplaced({ folder }, lease.epoch);
    if (isReleased || isOver()) throw leaseOver(folder, lease.epoch);
  };

  return {
    epoch: lease.epoch,
    check,
    isHeld: () => !isReplaced && !isReleased && !isOver(),
    async regained(withinMs, signal) {
      if (!isReplaced && !isReleased && isOver()) {
        const { promise } = change;
        // After a suspension the lease is over before any timer fires: the waiter has it renewed.
        wake.abort();
        const passed = new AbortController();
        await Promise.race([promise, clock.sleep(withinMs, passed.signal, signal)]);
        passed.abort();
      }
      check();
    },
    async release() {
      if (isReleased) return;
      isReleased = true;
      ending.abort();
      await work;
      if (isReplaced || isOver()) return;
      await write(renewals, { ...lease, isReleased: true }).catch((error: unknown) =>
        log.warn('the lease of this host was not given back: its successor waits it out', { folder, error }),
      );
    },
  };
};

/** A machine keeps its epoch, another takes the next. */
const epochAfter = (before: Owner | undefined, machine: string): number => {
  if (before === undefined) return 1;
  return before.machine === machine ? before.epoch : before.epoch + 1;
};

const leaseOver = (folder: string, epoch: number): Rejection =>
  new Rejection(
    'UNAVAILABLE',
    'DISK_HOST_LEASE_OVER',
    `this disk host could not renew its lease of the volumes (epoch ${epoch}); it continues when it can`,
    { folder, host_epoch: String(epoch) },
  );

/** A host that was replaced refuses everything. @param what was taken @param epoch its own */
export const hostReplaced = (
  what: { readonly folder: string } | { readonly volume: string },
  epoch: number,
): Rejection =>
  new Rejection(
    'FAILED_PRECONDITION',
    'DISK_HOST_REPLACED',
    `another disk host has taken the volumes of this one (epoch ${epoch}): open the disk again there`,
    { ...what, host_epoch: String(epoch) },
  );
