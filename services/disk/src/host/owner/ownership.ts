import { type Cause, CursorConflict, type EventStore, Rejection } from '@interlock/event-store';
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
import { type HostLease, HostLeases, type HostOffer, isCloseConflict, type Seen } from './lease-row.ts';

/**
 * Who may touch the volumes of a folder: one host, by a lease in the store of this service, renewed while it runs.
 *
 *   free ──take──▶ held by A, epoch n ──not renewed for a ttl, as B sees it──▶ held by B, epoch n + 1
 *                      │ ▲ renew                     A: its lease ended before, and it has released every file
 *                      └─┘
 *
 * The host's time starts before a renewal is sent, the successor's after it has read the last one, and clocks have a margin. So
 * the first is over when the second is. A process that was paused in between is kept out by the operating system's lock on the
 * folder, which it holds while it lives, and by the epoch in each header.
 */
export interface Ownership {
  /** Rises with each takeover by another machine, or after a boot. A process that restarts on the same machine keeps it. */
  readonly epoch: number;
  /** A disk that was opened under an earlier epoch may have lost writes that were not flushed: its machine crashed. */
  readonly intactSince: number;
  /**
   * Called before each operation on a volume, and again before its response.
   * @throws Rejection UNAVAILABLE DISK_HOST_LEASE_OVER; FAILED_PRECONDITION DISK_HOST_REPLACED
   */
  check(): void;
  /** Whether `check` would pass. */
  isHeld(): boolean;
  /** Milliseconds until its end, unless it is renewed; 0 or less: it is not held. */
  leftMs(): number;
  /**
   * If the lease is over, as after a suspension of the machine, renews it at once and waits until it is held again: for at most
   * `withinMs`, or until `signal` is aborted.
   * @throws Rejection as `check` does
   */
  regained(withinMs: number, signal: AbortSignal): Promise<void>;
  /**
   * Ends the renewals, and lets a successor begin without a wait. Call it when nothing touches a volume any more.
   * @param isFlushed whether every write to a disk that stays open is on stable storage
   */
  release(isFlushed: boolean): Promise<void>;
}

/** The identity of this host for the lease. */
export interface HostIdentity {
  /** Unique name of this host in the fleet: what disks and snapshots name. */
  readonly name: string;
  /** Names the folder of the volumes: the same for every host that may serve them. */
  readonly folder: string;
  /**
   * Id of the running kernel, so another one after each boot. A process that holds the lock of the folder on that machine knows
   * that the one before it has ended, so it does not wait; and what that one wrote is still in the memory of the kernel.
   */
  readonly machine: string;
  /** How long a renewal is valid, in milliseconds; ≥ 1,000. */
  readonly ttlMs: number;
  /**
   * The last owner, as the folder has stored it. A store that was restored to an earlier moment knows an earlier owner, and would
   * give an epoch below those of the headers written since.
   */
  readonly lastOwner?: Owner | undefined;
  /** Id of a lost folder that this one replaces (`LOST_FOLDER_ID`). */
  readonly lostFolder?: string | undefined;
}

/** An owner of a folder, as the folder stores it. */
export interface Owner {
  readonly epoch: number;
  readonly machine: string;
}

/** Default of `ttlMs`. */
export const hostLeaseTtlDefaultMs = 30_000;

/** What taking a folder needs. */
export interface OwnershipParts {
  readonly store: EventStore;
  readonly host: HostIdentity;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Stores the new owner in the folder, before any other operation there. */
  readonly onTaken?: ((owner: Owner) => Promise<void>) | undefined;
  /** What the lease says of this host, read at each renewal. */
  readonly offer?: (() => HostOffer) | undefined;
  /**
   * Ends each access here that the store does not contain any more. Called when accesses ended without this host: the lease is not
   * renewed before it is done.
   */
  readonly endClosed?: (() => Promise<void>) | undefined;
  /** Called each time the lease runs out: every file has to be closed. */
  readonly onEnd: () => void;
  /** Called once when another host has taken the folder: this host never gets it back. */
  readonly onReplaced: () => void;
}

/** The row of one folder, as its holder writes it. */
class LeaseRow {
  readonly #leases: HostLeases;
  readonly #parts: OwnershipParts;
  readonly #cause: Cause;

  constructor(parts: OwnershipParts, holder: string) {
    this.#leases = new HostLeases(parts.store);
    this.#parts = parts;
    this.#cause = { correlationId: holder, causes: [], caller: 'system:disk' };
  }

  read(): Promise<Seen> {
    return this.#leases.read(this.#parts.host.folder);
  }

  closedUpTo(): Promise<number> {
    return this.#leases.closedUpTo(this.#parts.host.folder);
  }

  /** @throws CursorConflict after another write, and after accesses ended without this host */
  write(renewals: number, lease: HostLease): Promise<void> {
    const { host, offer } = this.#parts;
    const now = { ...lease, host: host.name, ...offer?.() };
    return this.#leases.write(host.folder, renewals, now, this.#cause);
  }
}

/**
 * Takes the folder after the lease of its previous owner has expired, and keeps it until `release`.
 * @throws what the store throws, and when `signal` is aborted meanwhile
 */
export const takeOwnership = async (parts: OwnershipParts): Promise<Ownership> => {
  const { host, clock, random, onTaken } = parts;
  const { machine, ttlMs, lastOwner } = host;
  const holder = random.uuid();
  const row = new LeaseRow(parts, holder);
  for (;;) {
    const { renewals, lease: before } = await waitedOut(parts, row);
    const epoch = Math.max(epochAfter(before, machine), epochAfter(lastOwner, machine));
    const sentAt = readingOf(clock);
    const intactSince = intactSinceOf(epoch, before, lastOwner);
    // Nothing is open here yet: what is opened from now on is read from the store later than this.
    const appliedPosition = await row.closedUpTo();
    const lease = { epoch, holder, machine, ttlMs, isReleased: false, intactSince, appliedPosition };
    try {
      await row.write(renewals, lease);
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      continue;
    }
    await onTaken?.({ epoch, machine });
    return new HeldFolder(parts, row, lease, { renewals: renewals + 1, end: usableUntil(sentAt, ttlMs) });
  }
};

/** @returns the lease as it is when it has expired, was released, or is of this machine */
const waitedOut = async ({ host, clock, log, signal }: OwnershipParts, row: LeaseRow): Promise<Seen> => {
  const { folder, machine, ttlMs } = host;
  let seen = await row.read();
  let seenAt = readingOf(clock);
  const leftMsOf = ({ lease }: Seen): number =>
    lease === undefined || lease.isReleased || lease.machine === machine
      ? 0
      : waitedOutMs(lease.ttlMs) - ageMs(seenAt, readingOf(clock));
  if (leftMsOf(seen) > 0)
    log.warn('another host has the volumes: its lease is waited out', { folder, epoch: seen.lease?.epoch });
  for (let left = leftMsOf(seen); left > 0; left = leftMsOf(seen)) {
    await clock.sleep(Math.min(left, ttlMs / 10), signal);
    if (signal.aborted) throw new Error('stopped while the lease of another host was waited out');
    const now = await row.read();
    if (now.renewals === seen.renewals) continue;
    seen = now;
    seenAt = readingOf(clock);
  }
  return seen;
};

/** A folder that this host has taken. */
class HeldFolder implements Ownership {
  readonly epoch: number;
  readonly intactSince: number;
  readonly #parts: OwnershipParts;
  readonly #row: LeaseRow;
  #lease: HostLease;
  #renewals: number;
  #end: ClockReading;
  #isReplaced = false;
  #isReleased = false;
  #isEndReported = false;
  readonly #ending = new AbortController();
  #wake = new AbortController();
  #change = Promise.withResolvers<void>();
  readonly #work: Promise<unknown>;

  constructor(
    parts: OwnershipParts,
    row: LeaseRow,
    lease: HostLease & { readonly intactSince: number },
    { renewals, end }: { readonly renewals: number; readonly end: ClockReading },
  ) {
    this.epoch = lease.epoch;
    this.intactSince = lease.intactSince;
    this.#parts = parts;
    this.#row = row;
    this.#lease = lease;
    this.#renewals = renewals;
    this.#end = end;
    this.#work = Promise.all([this.#keep(), this.#watch()]);
  }

  check(): void {
    const { folder } = this.#parts.host;
    if (this.#isReplaced) throw hostReplaced({ folder }, this.epoch);
    if (this.#isReleased || this.#isOver()) throw leaseOver(folder, this.epoch);
  }

  isHeld(): boolean {
    return this.leftMs() > 0;
  }
  leftMs(): number {
    return this.#isReplaced || this.#isReleased ? 0 : this.#leftMs();
  }

  async regained(withinMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#isReplaced && !this.#isReleased && this.#isOver()) {
      const { promise } = this.#change;
      // After a suspension the lease is over before any timer fires: the waiter starts the renewal.
      this.#wake.abort();
      const passed = new AbortController();
      await Promise.race([promise, this.#parts.clock.sleep(withinMs, passed.signal, signal)]);
      passed.abort();
    }
    this.check();
  }

  async release(isFlushed: boolean): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#ending.abort();
    await this.#work;
    if (this.#isReplaced || this.#isOver()) return;
    const { log, host } = this.#parts;
    // Nothing is open here any more, so what ended without this host is applied.
    const released = async (): Promise<void> => {
      const appliedPosition = await this.#row.closedUpTo();
      await this.#row.write(this.#renewals, { ...this.#lease, appliedPosition, isReleased: true, isFlushed });
    };
    await released().catch((error: unknown) =>
      log.warn('the lease of this host was not released: its successor waits until it expires', {
        folder: host.folder,
        error,
      }),
    );
  }

  #isOver(): boolean {
    return this.#leftMs() <= 0;
  }
  #leftMs(): number {
    return leftMs(this.#end, readingOf(this.#parts.clock));
  }

  /** Renews the lease until the release, or until another host has it. */
  async #keep(): Promise<void> {
    const { clock, log, host, onReplaced } = this.#parts;
    const { folder, ttlMs } = host;
    while (!this.#ending.signal.aborted) {
      this.#wake = new AbortController();
      const waitMs = this.#isOver() ? ttlMs / 10 : Math.min(ttlMs / 3, ttlMs / 10 + this.#leftMs() / 3);
      await clock.sleep(waitMs, this.#ending.signal, this.#wake.signal);
      if (this.#ending.signal.aborted) return;
      try {
        if (await this.#renew()) continue;
      } catch (error) {
        log.warn('the lease of this host was not renewed', { folder, epoch: this.epoch, error });
        continue;
      }
      this.#isReplaced = true;
      this.#change.resolve();
      this.#reportEnd();
      log.error('another host has taken the volumes of this one', { folder, epoch: this.epoch });
      onReplaced();
      return;
    }
  }

  /** @returns whether the lease may be renewed again */
  async #renew(): Promise<boolean> {
    const { clock, host } = this.#parts;
    try {
      let sentAt = readingOf(clock);
      while (!(await this.#written())) sentAt = readingOf(clock);
      this.#renewals += 1;
      this.#end = usableUntil(sentAt, host.ttlMs);
      this.#change.resolve();
      this.#change = Promise.withResolvers();
    } catch (error) {
      if (!(error instanceof CursorConflict)) throw error;
      // Another host's write, or an own write without a response: it renews nothing, but the next may.
      const now = await this.#row.read();
      if (now.lease?.holder !== this.#lease.holder) return false;
      this.#renewals = now.renewals;
    }
    return true;
  }

  /**
   * Writes the lease. If accesses ended without this host, they end here first.
   * @returns false if it has to be written again @throws CursorConflict after another write
   */
  async #written(): Promise<boolean> {
    const { host, endClosed, log } = this.#parts;
    try {
      await this.#row.write(this.#renewals, this.#lease);
      return true;
    } catch (error) {
      if (!(error instanceof CursorConflict && isCloseConflict(error, host.folder))) throw error;
    }
    // The position first: an access that ends after this moves it.
    const appliedPosition = await this.#row.closedUpTo();
    log.info('disks were closed without this host: their accesses end before its lease is renewed', {
      ...{ folder: host.folder, appliedPosition },
    });
    await endClosed?.();
    this.#lease = { ...this.#lease, appliedPosition };
    return false;
  }

  /** Reports each end of the lease. */
  async #watch(): Promise<void> {
    const { clock, host } = this.#parts;
    while (!this.#ending.signal.aborted) {
      this.#reportEnd();
      await clock.sleep(this.#isOver() ? host.ttlMs / 10 : Math.max(1, this.#leftMs()), this.#ending.signal);
    }
  }

  #reportEnd(): void {
    const isEnd = this.#isReplaced || this.#isOver();
    if (isEnd && !this.#isEndReported) this.#parts.onEnd();
    this.#isEndReported = isEnd;
  }
}

/** The same machine keeps its epoch; another one takes the next. */
const epochAfter = (before: Owner | undefined, machine: string): number => {
  if (before === undefined) return 1;
  return before.machine === machine ? before.epoch : before.epoch + 1;
};

/**
 * The machine of the epoch before still has every write in its memory, or has flushed it. An owner that the store does not know,
 * because it was restored, may have crashed.
 */
const intactSinceOf = (epoch: number, before: HostLease | undefined, lastOwner: Owner | undefined): number => {
  const isFirst = before === undefined && lastOwner === undefined;
  const isSameMachine = before?.epoch === epoch;
  const isAfterFlush = before?.isFlushed === true && before.epoch === epoch - 1;
  return isFirst || isSameMachine || isAfterFlush ? (before?.intactSince ?? 0) : epoch;
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
